/* Follows an order: whenever its stream tells of a change, the page is fetched anew and changed where it
   differs, by morph.js. Where no stream can be had, the page is fetched as often as the service says.
   Without any of this, the page reloads itself. */
"use strict";

(() => {
  const FETCH_MILLISECONDS = 10_000;
  const PACE_MILLISECONDS = 1_000;
  const LATE_SECONDS = 15;
  const SAID_MILLISECONDS = 15_000;

  const order = document.getElementById("order");
  const announcer = document.getElementById("announcer");
  const connection = document.getElementById("connection");
  let source = null;
  let timer = null;
  let fetching = false;
  let again = false;
  let headline = headlineNow();
  let saidAt = Date.now();

  /* --- looking --- */

  function schedule(seconds) {
    clearTimeout(timer);
    timer = setTimeout(look, seconds * 1000);
  }

  async function look() {
    if (fetching) {
      again = true;
      return;
    }
    fetching = true;
    again = false;
    const begun = Date.now();
    try {
      const answer = await fetch(location.href, { signal: AbortSignal.timeout(FETCH_MILLISECONDS) });
      if (answer.status === 404) {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      tellLost(false);
      const seconds = Number(answer.headers.get("Retry-After")) || LATE_SECONDS;
      if (!source && order.dataset.ended === "no") follow();
      if (!source) schedule(seconds);
    } catch {
      /* The network or the service is away; what happened meanwhile is seen once it is back. */
      tellLost(true);
      schedule(LATE_SECONDS);
    } finally {
      fetching = false;
      if (again) setTimeout(look, Math.max(0, begun + PACE_MILLISECONDS - Date.now()));
    }
  }

  function show(fresh) {
    Morph.become(order, fresh.getElementById("order"));
    document.title = fresh.title;
    announce();
  }

  /* --- the stream --- */

  function follow() {
    source = new EventSource(order.dataset.stream);
    source.addEventListener("open", () => tellLost(false));
    source.addEventListener("order", look);
    source.addEventListener("end", () => {
      leave();
      look();
    });
    source.addEventListener("error", () => {
      tellLost(true);
      /* Closed means refused: full, or no proxy lets streams through. Otherwise the browser comes back. */
      if (source && source.readyState === EventSource.CLOSED) {
        leave();
        schedule(LATE_SECONDS);
      }
    });
  }

  function leave() {
    source.close();
    source = null;
  }

  /* --- telling --- */

  function headlineNow() {
    return document.getElementById("headline").textContent;
  }

  function announce() {
    const said = headlineNow();
    const told = order.querySelector(".told");
    const changed = said !== headline;
    if (!changed && (!told || Date.now() - saidAt < SAID_MILLISECONDS)) return;
    headline = said;
    saidAt = Date.now();
    announcer.textContent = changed ? said : told.textContent.replace(/\s+/g, " ").trim();
  }

  function tellLost(lost) {
    connection.textContent = lost ? order.dataset.lost : "";
    connection.hidden = !lost;
  }

  if (order.dataset.ended === "no") follow();
  else schedule(LATE_SECONDS * 4);
  addEventListener("online", look);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !source) look();
  });
})();
