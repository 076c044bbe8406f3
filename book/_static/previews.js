// Point at a link to a theorem, an equation, a figure or a reference, or tab to it, and see what it leads to; Escape
// closes. The statements come from the build (previews.py), one script a page, loaded when one is first asked for.
(() => {
  const root = new URL("..", document.currentScript.src);
  const loaded = {}, arrived = {};
  const box = document.createElement("div");
  box.className = "preview";
  box.hidden = true;
  box.setAttribute("aria-hidden", "true"); // the link itself leads there
  let shown = null, wait;

  window.previews = (page, snippets) => arrived[page](snippets);

  function load(page) {
    return loaded[page] ??= new Promise((resolve) => {
      arrived[page] = resolve;
      const script = document.createElement("script");
      script.src = new URL(`previews/${page}.js`, root);
      script.onerror = () => resolve({});
      document.head.append(script);
    });
  }

  function hide() {
    clearTimeout(wait);
    shown = null;
    box.hidden = true;
  }

  async function show(link) {
    shown = link;
    const page = decodeURIComponent(link.pathname.slice(root.pathname.length)).replace(/\.html$/, "");
    const html = (await load(page))[decodeURIComponent(link.hash.slice(1))];
    if (!html || shown !== link) return;
    box.innerHTML = html;
    for (const picture of box.querySelectorAll("img")) picture.src = new URL(picture.getAttribute("src"), link.href);
    link.closest("article").append(box);
    box.hidden = false;
    place(link);
    if (window.MathJax?.typesetPromise) await MathJax.typesetPromise([box]);
    if (shown === link) place(link);
  }

  // Below the link where there is room, or else above it.
  function place(link) {
    const line = link.getClientRects()[0], wide = box.offsetWidth, high = box.offsetHeight;
    const below = line.bottom + high + 8 <= innerHeight || line.top < innerHeight / 2;
    box.style.left = `${Math.max(8, Math.min(line.left, document.documentElement.clientWidth - wide - 8))}px`;
    box.style.top = `${below ? line.bottom + 4 : Math.max(8, line.top - high - 4)}px`;
  }

  const target = (event) => event.target.closest?.("article a.internal[href*='#']");
  const soon = (todo, time) => { clearTimeout(wait); wait = setTimeout(todo, time); };
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    const link = target(event);
    if (link && link !== shown) soon(() => show(link), 250);
    else if (link || box.contains(event.target)) clearTimeout(wait);
    else if (shown) soon(hide, 250);
    else clearTimeout(wait);
  });
  document.addEventListener("focusin", (event) => {
    const link = target(event);
    if (link?.matches(":focus-visible")) soon(() => show(link), 250);
    else hide();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("click", hide);
  addEventListener("scroll", () => { if (shown && !box.matches(":hover")) hide(); }, { passive: true });
})();
