// Mathematics is typeset after the browser has scrolled to its target, and moves the target away: go there once more,
// unless the reader has begun to move.
window.addEventListener("load", () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !window.MathJax || !MathJax.startup) return;
  let moved = false;
  for (const sign of ["wheel", "touchstart", "keydown"]) addEventListener(sign, () => { moved = true; }, { once: true });
  MathJax.startup.promise.then(() => { if (!moved) target.scrollIntoView({ behavior: "instant" }); });
});

// The theme makes what scrolls sideways reachable by keyboard when the window is resized; unfolding needs it too.
document.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")), true);

// On paper nothing can be unfolded: proofs are printed open, as long as the printing takes.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("article details.sd-dropdown:not([open])")) {
    folded.open = true;
    addEventListener("afterprint", () => { folded.open = false; }, { once: true });
  }
});
