/* Changes a part of a page into its newer form, and only what differs, so that scroll position, focus,
   selection, opened details and half-filled forms stay. */
"use strict";

const Morph = (() => {
  function sameNode(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName
      && (old.id || "") === (fresh.id || "");
  }

  function become(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    /* The reader opens and closes details; what tells relative times is rewritten by the page's clock. */
    const relative = old.hasAttribute("data-relative");
    const kept = old.nodeName === "DETAILS" ? "open" : relative ? "title" : "";
    for (const { name, value } of fresh.attributes) {
      if (name !== kept && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (name !== kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    if (!relative) becomeChildren(old, fresh);
  }

  function becomeChildren(old, fresh) {
    const named = new Map();
    for (const child of old.children) if (child.id) named.set(child.id, child);
    let place = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const known = next.id ? named.get(next.id) : null;
      if (known && known !== place) old.insertBefore(known, place);
      const match = known ?? (place && sameNode(place, next) ? place : null);
      if (match) {
        become(match, next);
        place = match.nextSibling;
      } else {
        old.insertBefore(document.importNode(next, true), place);
      }
    }
    while (place) {
      const gone = place;
      place = place.nextSibling;
      gone.remove();
    }
  }

  return { become };
})();
