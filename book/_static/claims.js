// The table of claims can be searched, narrowed to one verdict and sorted. Without this script it is a plain table.
for (const table of document.querySelectorAll("table.claims")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const text = (row, column) => row.cells[column].textContent.trim().toLowerCase();

  const form = document.createElement("form");
  form.className = "claims-form";
  form.innerHTML = '<label>Search <input type="search"></label> <label>Verdict <select><option value="">all</option></select></label> <output role="status"></output>';
  const [search, choice, shown] = ["input", "select", "output"].map((name) => form.querySelector(name));
  for (const verdict of new Set(rows.map((row) => row.cells[0].textContent.trim()))) choice.add(new Option(verdict, verdict));
  (table.closest(".pst-scrollable-table-container") || table).before(form);

  function narrow() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const all = row.textContent.toLowerCase();
      row.hidden = (choice.value && text(row, 0) !== choice.value) || !words.every((word) => all.includes(word));
    }
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  }
  form.addEventListener("input", narrow);
  form.addEventListener("submit", (event) => event.preventDefault());

  // A claim that is linked to must be visible.
  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.hidden) { form.reset(); narrow(); target.scrollIntoView(); }
  }
  addEventListener("hashchange", reveal);

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent.trim();
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      rows.sort((a, b) => text(a, column).localeCompare(text(b, column)) * (up ? 1 : -1));
      body.append(...rows);
    });
    head.replaceChildren(button);
  });
  narrow();
}
