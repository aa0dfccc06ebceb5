"use strict";
// Everything works without this script: tables are in order, pictures are shown side by side.

// Tables: a press on a head sorts the rows below it, another one turns them round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending" ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down < 0 ? "descending" : "ascending");
      const value = row => {
        const text = row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
        return isNaN(text) || text === "" ? (text === "nan" || text === "" ? -Infinity : text) : Number(text);
      };
      for (const body of table.querySelectorAll("tbody:not(.totals)")) {
        const compare = (a, b) => typeof a === "string" || typeof b === "string"
          ? -String(a).localeCompare(String(b), undefined, {numeric: true}) : a - b;
        body.append(...[...body.rows].sort((a, b) => down * compare(value(a), value(b))));
      }
    });
  });
}

// Pictures: the name of the class below the pointer.
const section = document.querySelector(".pictures");
const classes = JSON.parse(section.dataset.classes);
const canvases = new Map();
function classAt(image, x, y) {
  if (!canvases.has(image.src)) {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    canvas.getContext("2d", {willReadFrequently: true}).drawImage(image, 0, 0);
    canvases.set(image.src, canvas);
  }
  const canvas = canvases.get(image.src);
  const at = [x, y].map((part, i) => Math.floor(part * (i ? canvas.height : canvas.width)));
  const pixel = canvas.getContext("2d").getImageData(Math.max(0, at[0]), Math.max(0, at[1]), 1, 1).data;
  return classes[pixel.slice(0, 3).join(",")] ?? "";
}
const tip = document.createElement("span");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);
function name(box, imageAt) {
  box.addEventListener("pointerleave", () => { tip.hidden = true; });
  box.addEventListener("pointermove", event => {
    const area = box.getBoundingClientRect();
    const x = (event.clientX - area.left) / area.width, y = (event.clientY - area.top) / area.height;
    const image = imageAt(x);
    tip.textContent = image?.dataset.labels ? classAt(image, x, y) : "";
    tip.hidden = !tip.textContent;
    tip.style.left = `${event.pageX + 12}px`;
    tip.style.top = `${event.pageY + 12}px`;
  });
}

// A press on a picture shows it as large as the window; a further press or Escape closes it.
const dialog = document.createElement("dialog");
dialog.append(document.createElement("img"));
document.body.append(dialog);
dialog.addEventListener("click", () => dialog.close());
function enlarge(image) {
  dialog.firstChild.src = image.src;
  dialog.firstChild.alt = image.alt;
  dialog.showModal();
}

for (const example of section.querySelectorAll(".example")) {
  const images = [...example.querySelectorAll(".strip img")];
  for (const image of images) {
    name(image, () => image);
    image.tabIndex = 0;
    image.addEventListener("click", () => enlarge(image));
    image.addEventListener("keydown", event => { if (event.key === "Enter") enlarge(image); });
  }
  // Two pictures one above the other; the slider moves the line between them.
  if (images.length < 2) continue;
  const viewer = example.querySelector(".viewer"), stage = viewer.querySelector(".stage");
  const slider = viewer.querySelector("input"), choices = [...viewer.querySelectorAll("select")];
  const shown = choices.map(() => stage.appendChild(document.createElement("img")));
  const caption = image => image.parentElement.querySelector("figcaption").textContent;
  const predictions = images.filter(image => caption(image).endsWith("prediction"));
  const first = [predictions.at(0) ?? images[0], predictions.at(-1) ?? images[1]];
  if (first[0] === first[1]) first[0] = images[1] === first[1] ? images[0] : images[1];
  const draw = () => { shown[0].style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
                       stage.style.setProperty("--at", `${slider.value}%`); };
  choices.forEach((choice, side) => {
    choice.append(...images.map((image, i) => new Option(caption(image), i)));
    const choose = () => {
      const image = images[choice.value];
      [shown[side].src, shown[side].alt] = [image.src, image.alt];
      shown[side].dataset.labels = image.dataset.labels ?? "";
    };
    choice.value = images.indexOf(first[side]);
    choice.addEventListener("change", choose);
    choose();
  });
  // So that a tall picture fits into the window.
  shown[1].addEventListener("load", () =>
    viewer.style.setProperty("--shape", shown[1].naturalWidth / shown[1].naturalHeight));
  slider.addEventListener("input", draw);
  const drag = event => {
    if (!event.buttons) return;
    const area = stage.getBoundingClientRect();
    slider.value = 100 * (event.clientX - area.left) / area.width;
    draw();
  };
  stage.addEventListener("pointerdown", drag);
  stage.addEventListener("pointermove", drag);
  name(stage, x => shown[100 * x < slider.value ? 0 : 1]);
  draw();
  viewer.hidden = false;
}
for (const hint of document.querySelectorAll(".scripted")) hint.hidden = false;
