// The page: state in the address (#p=1.3&m=0.25&pool=image&image=0), pictures, plots and words.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const NAME = "http://www.w3.org/2000/svg";
const BINS = 56, FLOOR = 1e-4;

// --- the loss maps -------------------------------------------------------------------------------

const bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));

function halves(text) {
  const view = new DataView(bytes(text).buffer);
  const found = new Float64Array(view.byteLength / 2);
  for (let i = 0; i < found.length; i++) {
    const half = view.getUint16(2 * i, true), exponent = half >> 10 & 31, rest = half & 1023;
    const size = exponent ? Math.pow(2, exponent - 25) * (1024 + rest) : Math.pow(2, -24) * rest;
    found[i] = half >> 15 ? -size : size;
  }
  return found;
}

function runLengths(runs, count) {
  const found = new Uint8Array(count);
  let at = 0;
  for (let i = 0; i < runs.length; i += 2) found.fill(runs[i], at, at += runs[i + 1]);
  return found;
}

const images = data.images.map(image => {
  const count = image.width * image.height;
  const picture = new Image();
  picture.src = image.picture;
  return {
    ...image, count, picture,
    losses: halves(image.losses),
    truth: runLengths(image.truth, count),
    prediction: runLengths(image.prediction, count),
  };
});
const pools = {
  image: images.map(image => sortPool([image.losses])),
  batch: [sortPool(images.map(image => image.losses))],
};
const largest = Math.max(1, ...pools.image.map(pool => pool.at(-1) ?? 0));

// --- state ---------------------------------------------------------------------------------------

const initial = { p: data.p === "inf" ? Infinity : data.p, m: data.min_support, pool: "image", image: 0 };
let state = { ...initial };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (key, low, high) => {
    const text = given.get(key), value = text === "inf" ? Infinity : Number(text);
    return text !== null && text !== "" && value >= low && value <= high ? value : initial[key];
  };
  state = {
    p: number("p", 1, Infinity),
    m: number("m", 1e-9, 1),
    pool: given.get("pool") === "batch" ? "batch" : "image",
    image: Math.floor(number("image", 0, images.length - 1)),
  };
}

const written = p => p === Infinity ? "inf" : String(Number(p.toPrecision(6)));

function writeAddress() {
  const { p, m, pool, image } = state;
  const hash = `#p=${written(p)}&m=${Number(m.toPrecision(6))}&pool=${pool}&image=${image}`;
  try { history.replaceState(null, "", hash); } catch { /* a sandboxed frame has no history */ }
}

let waiting = false;
function change(part) {
  state = { ...state, ...part };
  if (waiting) return;
  waiting = true;
  // No animation frame: a page that is not painted, as in a test, has none.
  setTimeout(() => { waiting = false; writeAddress(); draw(); });
}

// --- drawing -------------------------------------------------------------------------------------

const HEAT = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21],
  [250, 193, 39], [252, 255, 164]];

/** The inferno color of a share in [0, 1]. */
function heat(share) {
  const place = Math.min(Math.max(share, 0), 1) * (HEAT.length - 1), k = Math.min(Math.floor(place), HEAT.length - 2);
  return HEAT[k].map((low, channel) => low + (HEAT[k + 1][channel] - low) * (place - k));
}
const LUT = Array.from({ length: 256 }, (_, k) => heat(k / 255));

let solutions, current, weightMaps;

function solvePools() {
  weightMaps = images.map(() => null);
  solutions = pools[state.pool].map(pool => pool.length ? solve(pool, state.p, state.m) : null);
  current = state.pool === "batch" ? 0 : state.image;
}
const solutionOf = k => solutions[state.pool === "batch" ? 0 : k];

/** The weights of the pixels of an image, 0 without a label; computed once per change. */
function weightsOf(k) {
  const { weight } = solutionOf(k);
  weightMaps[k] ??= images[k].losses.map(loss => loss < 0 ? 0 : weight(loss));
  return weightMaps[k];
}

/** Paint every step-th pixel of an image in the color that `color` gives to its place. */
function paint(canvas, image, color, step = 1) {
  const width = Math.ceil(image.width / step), height = Math.ceil(image.height / step);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      const [r, g, b] = color(step * (y * image.width + x));
      pixels.data[at] = r;
      pixels.data[at + 1] = g;
      pixels.data[at + 2] = b;
      pixels.data[at + 3] = 255;
    }
  }
  context.putImageData(pixels, 0, 0);
}

const BLACK = [0, 0, 0], GRAY = [70, 74, 80];

function weightColors(k) {
  const solution = solutionOf(k), { losses } = images[k];
  if (!solution) return () => GRAY;
  const weights = weightsOf(k), scale = 255 / solution.tau;
  return i => losses[i] < 0 ? GRAY : LUT[Math.round(scale * weights[i])];
}

function drawRight() {
  const small = document.createElement("canvas");
  paint(small, images[state.image], weightColors(state.image));
  enlarge(small, $("right"), "#0b6bcb");
}

function drawLeft() {
  const image = images[state.image], layer = $("layer").value, small = document.createElement("canvas");
  if (layer === "image") {
    enlarge(image.picture, $("left"), "#5ef1ff");
    return;
  }
  if (layer === "losses") {
    const scale = 255 / largest;
    paint(small, image, i => image.losses[i] < 0 ? GRAY : LUT[Math.round(scale * image.losses[i])]);
  } else {
    const ids = image[layer];
    paint(small, image, i => image.losses[i] < 0 ? BLACK : data.colors[ids[i]]);
  }
  enlarge(small, $("left"), "#fff");
}

/** Draw a picture pixel by pixel at the canvas's size, and the outline of J* along their edges. */
function enlarge(picture, canvas, color) {
  const image = images[state.image], solution = solutionOf(state.image);
  const scale = Math.max(1, Math.round(960 / image.width));
  canvas.width = scale * image.width;
  canvas.height = scale * image.height;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!$("outline").checked || !solution) return;
  const { width, height, losses } = image, inside = i => losses[i] > solution.alpha;
  const path = new Path2D();
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!inside(i)) continue;
      const left = scale * x, top = scale * y, right = left + scale, bottom = top + scale;
      if (x === 0 || !inside(i - 1)) { path.moveTo(left, top); path.lineTo(left, bottom); }
      if (x === width - 1 || !inside(i + 1)) { path.moveTo(right, top); path.lineTo(right, bottom); }
      if (y === 0 || !inside(i - width)) { path.moveTo(left, top); path.lineTo(right, top); }
      if (y === height - 1 || !inside(i + width)) { path.moveTo(left, bottom); path.lineTo(right, bottom); }
    }
  }
  context.strokeStyle = color;
  context.lineWidth = Math.max(1, scale / 3);
  context.stroke(path);
}

function drawThumbnails() {
  images.forEach((_, k) => {
    const button = $("thumbnails").children[k];
    button.setAttribute("aria-checked", k === state.image);
    button.tabIndex = k === state.image ? 0 : -1;
    paint(button.firstChild, images[k], weightColors(k), Math.ceil(images[k].width / 224));
  });
}

function svg(name, attributes, parent, text) {
  const made = document.createElementNS(NAME, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function drawHistogram() {
  const pool = pools[state.pool][current], solution = solutions[current];
  $("histogram").replaceChildren();
  if (!solution) return;
  const W = Math.min(Math.max($("histogram").clientWidth, 300), 640), H = 260, left = 34, bottom = 34, top = 20, w = W - left - 30, h = H - top - bottom;
  const high = Math.max(largest, 1) * 1.05;
  const x = loss => left + w * Math.log(Math.max(loss, FLOOR) / FLOOR) / Math.log(high / FLOOR);
  const { pixels, weights } = histogram(pool, solution.weight, FLOOR, high, BINS);
  // The lowest bin gathers all confident pixels: it would flatten the others if it set the scale.
  const peak = Math.max(...weights, ...pixels.slice(1)) * 1.1;
  const y = share => top + h * (1 - Math.min(share / peak, 1));
  const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label":
    "Histogram of the pixel losses: share of the pixels, share of the weight, threshold and relative weight" }, $("histogram"));
  for (let decade = Math.log10(FLOOR); Math.pow(10, decade) < high; decade++) {
    const at = x(Math.pow(10, decade)), label = Number(Math.pow(10, decade).toPrecision(1));
    svg("line", { x1: at, x2: at, y1: top, y2: top + h, class: "axis" }, root);
    svg("text", { x: at, y: H - 16, "text-anchor": "middle" }, root, decade === Math.log10(FLOOR) ? `≤ ${label}` : String(label));
  }
  svg("text", { x: left + w / 2, y: H, "text-anchor": "middle" }, root, "pixel loss");
  const step = w / BINS;
  for (const [values, name] of [[pixels, "pixels"], [weights, "weights"]]) {
    values.forEach((share, k) => {
      if (share > 0) svg("rect", { x: left + k * step, y: y(share), width: step - 1, height: top + h - y(share), class: name }, root);
    });
  }
  if (pixels[0] > peak) svg("text", { x: left + 3, y: top + 10, class: "strong" }, root, `↑ ${percent(pixels[0])}`);
  svg("line", { x1: left, x2: left + w, y1: top + h, y2: top + h, class: "axis" }, root);
  const points = [];
  for (let k = 0; k <= 200; k++) {
    const loss = FLOOR * Math.pow(high / FLOOR, k / 200);
    // At p = 1 a tie has a weight of its own; the line shows the two sides of it.
    points.push(`${x(loss).toFixed(1)},${(top + h * (1 - solution.weight(loss) / solution.tau)).toFixed(1)}`);
  }
  svg("polyline", { points: points.join(" "), class: "curve" }, root);
  svg("text", { x: W - 24, y: top + 4 }, root, "τ");
  svg("text", { x: W - 24, y: top + h }, root, "0");
  if (solution.p < Infinity && solution.alpha > 0) {
    const at = x(solution.alpha);
    svg("line", { x1: at, x2: at, y1: top - 6, y2: top + h, class: "threshold" }, root);
    svg("text", { x: at, y: top - 9, "text-anchor": "middle", class: "strong" }, root, `α* = ${short(solution.alpha)}`);
  }
  legend(root, left + 52, top + 12);
}

function legend(root, x, y) {
  for (const [name, words] of [["pixels", "share of the pixels"], ["weights", "share of the weight"]]) {
    svg("rect", { x, y: y - 9, width: 12, height: 10, class: name }, root);
    svg("text", { x: x + 18, y }, root, words);
    y += 18;
  }
}

function drawClasses() {
  const members = state.pool === "batch" ? images.map((_, k) => k) : [state.image];
  const pixels = data.classes.map(() => 0), weights = data.classes.map(() => 0);
  let count = 0, total = 0;
  for (const k of members) {
    if (!solutionOf(k)) continue;
    const { losses, truth } = images[k], found = weightsOf(k);
    for (let i = 0; i < losses.length; i++) {
      if (losses[i] < 0) continue;
      pixels[truth[i]]++;
      weights[truth[i]] += found[i];
      count++;
      total += found[i];
    }
  }
  const rows = data.classes.map((name, c) => ({ name, c, pixels: pixels[c] / count, weight: total ? weights[c] / total : 0 }))
    .filter(row => row.pixels > 0).sort((a, b) => a.pixels - b.pixels);
  const widest = Math.max(...rows.flatMap(row => [row.pixels, row.weight]));
  $("classes").replaceChildren(...rows.map(row => {
    const line = document.createElement("div"), name = document.createElement("span");
    const bars = document.createElement("div"), times = document.createElement("b");
    line.className = "row";
    line.title = `${row.name}: ${percent(row.pixels)} of the pixels, ${percent(row.weight)} of the weight`;
    const swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.style.background = `rgb(${data.colors[row.c]})`;
    name.append(swatch, row.name);
    bars.className = "bars";
    for (const share of [row.pixels, row.weight]) {
      const bar = document.createElement("i");
      bar.style.width = `${100 * share / widest}%`;
      bars.append(bar);
    }
    times.textContent = `× ${short(row.weight / row.pixels)}`;
    line.append(name, bars, times);
    return line;
  }));
}

// --- words ---------------------------------------------------------------------------------------

const short = value => value === 0 ? "0" : value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
const percent = share => `${short(100 * share)} %`;

function show(id, value, text, note = "") {
  $(id).dataset.value = value;
  const small = document.createElement("small");
  small.textContent = note;
  $(id).replaceChildren(text, " ", small);
}

function drawNumbers() {
  const pool = pools[state.pool][current], s = solutions[current];
  for (const id of ["value", "mean", "alpha", "capped", "support", "cap"]) $(id).textContent = "–";
  $("code").textContent = `criterion = MaxPoolingCrossEntropyLoss(p=${state.p === Infinity ? 'float("inf")' : written(state.p)}, ` +
    `min_support=${Number(state.m.toPrecision(4))}, pool="${state.pool}")`;
  if (!s) { $("sentence").textContent = "No pixel of this image has a label."; return; }
  const effective = effectiveSupport(pool, s.weight), ratio = s.mean > 0 ? s.value / s.mean : 1;
  show("value", s.value, short(s.value), `${short(ratio)} × the mean`);
  show("mean", s.mean, short(s.mean));
  show("alpha", s.alpha, short(s.alpha));
  show("capped", s.capped, percent(s.capped / s.n), `${s.capped.toLocaleString("en")} of ${s.n.toLocaleString("en")}`);
  show("support", effective, percent(effective / s.n));
  show("cap", s.tau * s.n, short(s.tau * s.n));
  const strong = text => Object.assign(document.createElement("b"), { textContent: text });
  const where = state.pool === "batch" ? "of these images together" : "of this image";
  if (state.p === Infinity || state.m === 1) {
    $("sentence").replaceChildren("Every pixel has the same weight: the loss is the plain mean.");
  } else {
    $("sentence").replaceChildren("The value is ", strong(`${short(ratio)} times`), ` the mean loss ${where}. The `,
      strong(percent(s.capped / s.n)), ` of the pixels whose loss exceeds α* = ${short(s.alpha)} carry the full weight each, `,
      strong(`${short(s.tau * s.n)} times`), " that of the plain mean; ",
      state.p === 1 ? "the others carry next to none." : "below α*, the weight falls with the loss.");
  }
}

function drawControls() {
  $("p").value = placeOf(state.p);
  $("p").setAttribute("aria-valuetext", written(state.p));
  $("m").value = Math.log10(state.m);
  $("m").setAttribute("aria-valuetext", percent(state.m));
  for (const [box, text] of [[$("p-text"), written(state.p)], [$("m-text"), percent(state.m)]]) {
    if (document.activeElement !== box) {
      box.value = text;
      box.removeAttribute("aria-invalid");
    }
  }
  for (const radio of document.getElementsByName("pool")) radio.checked = radio.value === state.pool;
  for (const button of $("presets").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", Number(button.dataset.p) === state.p && Number(button.dataset.m) === state.m);
  }
}

function draw() {
  solvePools();
  drawControls();
  drawNumbers();
  drawThumbnails();
  drawLeft();
  drawRight();
  drawHistogram();
  drawClasses();
}

// --- what the reader does ------------------------------------------------------------------------

$("p").addEventListener("input", event => {
  const p = exponentAt(Number(event.target.value));
  change({ p: p === Infinity ? p : Number(p.toPrecision(3)) });
});
$("m").addEventListener("input", event => change({ m: Number(Math.pow(10, event.target.value).toPrecision(3)) }));

/** A typed number; refused where it is out of range, without moving anything. */
function typed(box, read, take) {
  box.addEventListener("input", () => {
    const value = read(box.value.trim().toLowerCase());
    box.setAttribute("aria-invalid", value === null);
    if (value !== null) take(value);
  });
  box.addEventListener("blur", drawControls);
}
typed($("p-text"), text => {
  const p = ["inf", "∞", "infinity"].includes(text) ? Infinity : Number(text);
  return text && p >= 1 ? p : null;
}, p => change({ p }));
typed($("m-text"), text => {
  const share = Number(text.replace("%", "")) / 100;
  return text && share > 0 && share <= 1 ? share : null;
}, m => change({ m }));

for (const radio of document.getElementsByName("pool")) {
  radio.addEventListener("change", () => change({ pool: radio.value }));
}
for (const button of $("presets").querySelectorAll("button")) {
  button.addEventListener("click", () => change({ p: Number(button.dataset.p), m: Number(button.dataset.m) }));
}
$("controls").addEventListener("submit", event => event.preventDefault());
$("layer").addEventListener("change", drawLeft);
$("outline").addEventListener("change", () => { drawLeft(); drawRight(); });

images.forEach((image, k) => {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("role", "radio");
  button.setAttribute("aria-label", `image ${k + 1}: ${image.name}`);
  button.title = image.name;
  button.append(document.createElement("canvas"));
  button.addEventListener("click", () => change({ image: k }));
  button.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (k + step + images.length) % images.length;
    change({ image: next });
    $("thumbnails").children[next].focus();
  });
  $("thumbnails").append(button);
  image.picture.addEventListener("load", () => { if (state.image === k) drawLeft(); });
});
$("thumbnails").hidden = images.length < 2;
$("pools").hidden = images.length < 2;

addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=text], select")) return;
  const number = Number(event.key);
  if (number >= 1 && number <= images.length) change({ image: number - 1 });
  else if (event.key === "b" && images.length > 1) change({ pool: state.pool === "batch" ? "image" : "batch" });
  else if (event.key === "o") { $("outline").checked = !$("outline").checked; drawLeft(); drawRight(); }
  else if (event.key === "r") change({ p: 1.3, m: 0.25 });
  else if (event.key === "v") { $("layer").selectedIndex = ($("layer").selectedIndex + 1) % $("layer").options.length; drawLeft(); }
});

/** The class, the loss and the weight of the pixel below the pointer. */
function point(event) {
  const image = images[state.image], box = event.currentTarget.getBoundingClientRect(), solution = solutionOf(state.image);
  const column = Math.floor((event.clientX - box.left) / box.width * image.width);
  const row = Math.floor((event.clientY - box.top) / box.height * image.height);
  const i = row * image.width + column;
  if (!(column >= 0 && column < image.width && row >= 0 && row < image.height)) return;
  if (image.losses[i] < 0) { $("pixel").textContent = `row ${row}, column ${column}: no label`; return; }
  const swatch = c => {
    const box = document.createElement("i");
    box.style.background = `rgb(${data.colors[c]})`;
    return box;
  };
  const [truth, prediction, loss] = [image.truth[i], image.prediction[i], image.losses[i]];
  $("pixel").replaceChildren(swatch(truth), `${data.classes[truth]}, predicted as `, swatch(prediction),
    `${data.classes[prediction]}: loss ${short(loss)}, weight ${short(solution.weight(loss) * solution.n)} × that of the mean`);
}
for (const canvas of [$("left"), $("right")]) {
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
}
$("pixel").textContent = "Point at a pixel: its class, its loss and its weight.";

addEventListener("hashchange", () => { readAddress(); draw(); });
addEventListener("resize", drawHistogram);
if (self !== top) document.documentElement.classList.add("framed");
readAddress();
draw();
