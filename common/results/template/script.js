"use strict";
// Filters: an element that names a recipe, scale or verdict is hidden while another one is chosen.
// The choice stands in the address, so that a link can carry it. Without scripts all is shown.
const nav = document.getElementById("filters");
const selects = [...nav.querySelectorAll("select")];
const shown = (row) => !row.hidden && !row.closest("[hidden]");

function apply() {
  const chosen = selects.filter((s) => s.value).map((s) => [s.name, s.value]);
  for (const part of document.querySelectorAll("[data-recipe], [data-scale], [data-verdict]"))
    part.hidden = chosen.some(([name, value]) => name in part.dataset && part.dataset[name] !== value);
  for (const list of document.querySelectorAll("[data-list]")) {
    list.hidden = false;
    list.hidden = ![...list.querySelectorAll("tbody tr")].some(shown);
  }
  const rows = [...document.querySelectorAll("#headlines .claims tbody tr")];
  nav.querySelector("output").value = `${rows.filter(shown).length} of ${rows.length} headline verdicts`;
}

function fromAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  for (const select of selects)
    if ([...select.options].some((o) => o.value === words.get(select.name))) select.value = words.get(select.name);
  apply();
}

nav.addEventListener("change", () => {
  const words = new URLSearchParams(selects.filter((s) => s.value).map((s) => [s.name, s.value]));
  history.replaceState(null, "", `#${words}`);
  apply();
});
nav.hidden = false;
fromAddress();

// A link to a record opens what it lies in.
addEventListener("hashchange", () => {
  if (location.hash.includes("=")) return fromAddress();
  const target = document.getElementById(location.hash.slice(1));
  for (let box = target?.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  target?.scrollIntoView();
});

// Arms of the training curves: at first those of the headlines, where there are many.
function draw(box) {
  for (const mark of box.closest(".curves").querySelectorAll(`.${box.dataset.arm}`))
    mark.style.display = box.checked ? "" : "none";
}
document.querySelectorAll("[data-arm]").forEach(draw);
document.addEventListener("change", ({ target }) => target.dataset.arm && draw(target));
for (const button of document.querySelectorAll("[data-all]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const boxes = [...button.closest(".curves").querySelectorAll("[data-arm]")];
    const checked = boxes.some((box) => !box.checked);
    for (const box of boxes) draw(Object.assign(box, { checked }));
  });
}

// Theme: the system's, or the other one.
const theme = document.getElementById("theme");
theme.addEventListener("click", () => {
  const next = { auto: "light", light: "dark", dark: "auto" }[document.documentElement.dataset.theme ?? "auto"];
  document.documentElement.dataset.theme = next;
  theme.textContent = `Theme: ${next}`;
});
