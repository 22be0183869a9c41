"use strict";
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const column = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") === "descending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => {
      const cell = row.cells[column];
      return cell.dataset.sort === undefined ? cell.textContent : Number(cell.dataset.sort);
    };
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
      const by = typeof x === "number" ? x - y : x.localeCompare(y);
      return up ? by : -by;
    };
    body.append(...[...body.rows].sort(order));
  });
}
const tools = document.querySelector(".tools");
if (tools) {
  const cases = [...document.querySelectorAll(".case")];
  const [words, kind, shown] = ["input", "select", "output"].map((t) => tools.querySelector(t));
  const show = () => {
    const wanted = words.value.toLocaleLowerCase();
    let n = 0;
    for (const c of cases) {
      const of = c.dataset.kind.split(" ");
      const on = (!kind.value || of.includes(kind.value))
        && (!wanted || c.textContent.toLocaleLowerCase().includes(wanted));
      c.hidden = !on;
      n += on;
    }
    shown.textContent = `${n} shown`;
  };
  words.addEventListener("input", show);
  kind.addEventListener("change", show);
  tools.hidden = false;
  show();
}
