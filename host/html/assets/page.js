"use strict";
(() => {
  // Lists with a filter: <form data-filter="ID">, and items in #ID with what they are of.
  for (const form of document.querySelectorAll("form[data-filter]")) {
    const items = [...document.getElementById(form.dataset.filter).querySelectorAll("[data-item]")];
    const texts = items.map((item) => item.textContent.toLowerCase());
    const count = form.querySelector("output");
    const show = () => {
      const words = form.elements.find.value.toLowerCase().split(" ").filter(Boolean);
      const set = form.elements.set ? form.elements.set.value : "";
      const only = form.elements.only ? form.elements.only.checked : false;
      let shown = 0;
      items.forEach((item, at) => {
        const fits = words.every((word) => texts[at].includes(word))
          && (!set || item.dataset.set === set) && (!only || "changed" in item.dataset);
        item.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      count.textContent = shown === items.length ? `all ${shown} shown` : `${shown} of ${items.length} shown`;
    };
    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    show();
  }

  // A page that is served looks for news, and comes back as it was.
  const watched = document.body.dataset;
  if (!watched.watch) return;
  const key = "host-watch";
  const open = () => [...document.querySelectorAll("details")];
  const fields = () => [...document.querySelectorAll("form[data-filter] [name]")];
  try {
    const kept = JSON.parse(sessionStorage.getItem(key) || "null");
    sessionStorage.removeItem(key);
    if (kept) {
      open().forEach((one, at) => { one.open = kept.open[at] === true; });
      fields().forEach((one, at) => {
        if (one.type === "checkbox") one.checked = kept.fields[at] === true;
        else if (typeof kept.fields[at] === "string") one.value = kept.fields[at];
        one.dispatchEvent(new Event("input", { bubbles: true }));
      });
      window.scrollTo(0, kept.y);
    }
  } catch { /* a browser that keeps nothing shows the page from its top */ }
  const told = document.getElementById("watched");
  const look = async () => {
    try {
      const reply = await fetch("state", { cache: "no-store" });
      const state = (await reply.text()).trim();
      if (reply.ok && state !== watched.state) {
        try {
          const values = fields().map((one) => one.type === "checkbox" ? one.checked : one.value);
          sessionStorage.setItem(key, JSON.stringify({ y: window.scrollY, open: open().map((one) => one.open), fields: values }));
        } catch { /* as above */ }
        location.reload();
        return;
      }
      if (told) told.textContent = "live";
    } catch {
      if (told) told.textContent = "host watch has ended; this is what it showed last";
    }
    setTimeout(look, 1000 * Number(watched.watch));
  };
  setTimeout(look, 1000 * Number(watched.watch));
})();
