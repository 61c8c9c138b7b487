"use strict";
const {texts, replay} = JSON.parse(document.getElementById("data").textContent);

// Tables: a click on a column's head sorts by it, a second one the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => {
      const cell = row.cells[column];
      return cell.dataset.key === undefined ? cell.textContent : Number(cell.dataset.key);
    };
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      const empty = (x === "") - (y === "");  // cells without a value come last, either way
      if (empty) return empty;
      const both = typeof x === "number" && typeof y === "number";
      return (up ? 1 : -1) * (both ? x - y : String(x).localeCompare(String(y)));
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
  }));
}

// Plots: each point says what it is, under the pointer or a finger.
const tip = document.getElementById("tip");
for (const [id, lines] of Object.entries(texts)) {
  const group = document.getElementById(id);
  if (!group) continue;
  group.classList.add("points");
  let points = [...group.querySelectorAll("use")];
  if (!points.length) points = [...group.querySelectorAll("path")].filter(p => !p.closest("defs"));
  points.forEach((point, index) => {
    const show = event => {
      tip.textContent = lines[index];
      tip.style.display = "block";
      tip.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)) + "px";
      tip.style.top = Math.max(4, event.clientY - tip.offsetHeight - 8) + "px";
    };
    point.addEventListener("pointerenter", show);
    point.addEventListener("pointermove", show);
    point.addEventListener("pointerleave", () => { tip.style.display = "none"; });
  });
}

// The search: the slider shows an epoch.
if (replay) {
  const slider = document.getElementById("epoch"), play = document.getElementById("play");
  const show = () => {
    const frame = replay[slider.value];
    document.getElementById("at").textContent = frame.label;
    for (const drawing of document.querySelectorAll("[data-drawing]"))
      drawing.hidden = Number(drawing.dataset.drawing) !== frame.drawing[drawing.dataset.column];
    for (const table of document.querySelectorAll(".heat")) {
      const rows = table.tBodies[0].rows;
      (frame.weights[table.dataset.column] ?? []).forEach((weights, edge) => weights.forEach((weight, operation) => {
        const cell = rows[edge].cells[operation + 1], shade = Math.max(0, Math.min(1, weight));
        cell.style.background = `rgba(27, 108, 168, ${shade})`;
        cell.style.color = shade > 0.7 ? "#fff" : "#1f2937";
        cell.textContent = weight.toFixed(2).replace(/^0/, "");
        cell.title = weight;
      }));
    }
  };
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (slider.value === slider.max) slider.value = 0;
    play.textContent = "Stop";
    show();
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (slider.value === slider.max) stop();
    }, 300);
  });
  slider.addEventListener("input", () => { stop(); show(); });
  show();
}
