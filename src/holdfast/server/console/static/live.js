/* Keeps a page alive: fetches it anew every few seconds and changes only what differs, by morph.js.
   Without it, pages still work. */
"use strict";

(() => {
  const FETCH_MILLISECONDS = 10_000;
  const LATE_SECONDS_MAX = 15;

  const connection = document.getElementById("connection");
  let lostAt = null;
  let timer = null;
  let fetching = false;

  /* --- fetching --- */

  function interval() {
    return Number(document.body.dataset.interval || 0);
  }

  function schedule(seconds) {
    clearTimeout(timer);
    if (seconds > 0) timer = setTimeout(look, seconds * 1000);
  }

  async function look() {
    if (fetching) return;
    if (document.hidden) return;
    fetching = true;
    try {
      const answer = await fetch(location.href, { signal: AbortSignal.timeout(FETCH_MILLISECONDS) });
      if (answer.redirected || answer.status === 404) {
        /* Signed out, or the job is gone: show what there is to see. */
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      tellConnection(null);
      schedule(interval());
    } catch {
      /* The server or the network is away; what happened meanwhile is seen once it is back. */
      tellConnection(lostAt ?? new Date());
      schedule(Math.min(LATE_SECONDS_MAX, Math.max(1, interval())));
    } finally {
      fetching = false;
    }
  }

  function show(fresh) {
    for (const part of document.querySelectorAll("[data-live]")) {
      const newer = fresh.getElementById(part.id);
      if (newer) Morph.become(part, newer);
    }
    tellTimes();
    document.title = fresh.title;
    document.body.dataset.interval = fresh.body.dataset.interval || "";
  }

  function tellConnection(at) {
    const words = at ? `Connection lost at ${at.toLocaleTimeString()}; trying again` : "Live";
    lostAt = at;
    if (connection && connection.textContent !== words) connection.textContent = words;
    document.body.classList.toggle("lost", at !== null);
  }

  /* --- times --- */

  const UNITS = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];

  function tellTime(element) {
    const at = new Date(element.dateTime);
    const seconds = (Date.now() - at) / 1000;
    const [size, unit] = UNITS.find(([least]) => Math.abs(seconds) >= least) ?? [1, "s"];
    const amount = `${Math.round(Math.abs(seconds) / size)} ${unit}`;
    const words = Math.abs(seconds) < 1 ? "now" : seconds > 0 ? `${amount} ago` : `in ${amount}`;
    if (element.textContent !== words) element.textContent = words;
    element.title = at.toLocaleString();
  }

  function tellTimes() {
    for (const element of document.querySelectorAll("time[data-relative]")) tellTime(element);
  }

  tellTimes();
  setInterval(tellTimes, 1000);
  if (new URLSearchParams(location.search).has("done")) history.replaceState(null, "", location.pathname);
  if (interval() > 0 && connection) {
    tellConnection(null);
    schedule(interval());
    addEventListener("online", look);
    document.addEventListener("visibilitychange", look);
  }
})();
