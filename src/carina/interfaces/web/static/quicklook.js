// The quick look at a series: slices, windows, outlines. Pictures are drawn by the node; where somebody sets a window
// by hand, the stored values are fetched and drawn here. When the permit ends, all of it goes (look/permit.js).
import { askAgain, whenEnded } from "./look/permit.js";
import { pictureStore } from "./look/pictures.js";
import { valueStore } from "./look/values.js";
import { viewOf } from "./look/view.js";
import { outlinesOf } from "./look/outlines.js";
import { headerOf } from "./look/header.js";
import { cineOf } from "./look/cine.js";
import { listen } from "./look/gestures.js";

const BEHIND = 2; // slices fetched against the direction of the last step
const REST = 250; // ms a slice must rest before its values are fetched for reading, and its address is written
const HAND = "custom";

const begin = (stage) => {
  const series = JSON.parse(stage.dataset.look);
  const texts = JSON.parse(stage.dataset.texts);
  const { uids, base } = series;
  const slices = series.slices.flatMap(([uid, frame, distance, letters, run]) => (
    Array.from({ length: run }, (_, more) => [uid, frame + more, distance, letters])));
  const section = stage.closest("section");
  const find = (name) => section.querySelector(`[data-${name}]`);
  const slider = document.getElementById("slice");
  const choice = document.getElementById("window");
  const center = document.getElementById("center");
  const width = document.getElementById("width");
  const plane = find("plane");
  const canvas = find("canvas");
  const wrong = find("wrong");
  const readout = find("readout");
  let shown = plane.querySelector("img");
  let at = Number(slider.value) - 1;
  let heading = 1;
  let timer = 0;
  let pointer = null;
  let dragsWindow = false;

  // ---- addresses ----
  const place = (index) => `${uids[slices[index][0]]}/${slices[index][1]}`;
  const byHand = () => choice?.value === HAND;
  const hand = () => ({ // a linear window is at least 1 wide, PS3.3 section C.11.2.1.2.1
    center: plain(center.value), width: plain(width.value), shape: Number(width.value) < 1 ? "linear-exact" : "linear",
  });
  const numbers = () => {
    const { center: c, width: w, shape } = hand();
    return shape === "linear" ? `${c},${w}` : `${c},${w},${shape}`;
  };
  const plain = (text) => Number(Number(text).toPrecision(9));
  const windowName = () => (!choice ? "" : byHand() ? numbers() : choice.value);
  const picture = (index) => {
    const name = windowName();
    return `${base}/frames/${place(index)}.png${name ? `?window=${encodeURIComponent(name).replaceAll("%2C", ",")}` : ""}`;
  };
  const valuesAt = (index) => `${base}/values/${place(index)}`;

  // ---- what is kept ----
  const pictures = pictureStore({
    ready: (key, one) => { if (key === picture(at) && !drawsValues()) show(one); },
    failed: (key) => { if (key === picture(at) && !drawsValues()) fail(); },
  });
  const values = series.values && valueStore(series.values, {
    ready: (key) => {
      if (key !== valuesAt(at)) return;
      if (drawsValues()) showValues();
      read();
    },
    failed: (key) => { if (key === valuesAt(at) && byHand()) update(); },
  });
  const drawsValues = () => Boolean(values) && byHand() && !values.hasFailed(valuesAt(at));

  const view = viewOf(stage, plane, series);
  const outlines = outlinesOf(plane.querySelector("svg"), section, {
    address: (id) => `${base}/outlines/${place(at)}.json?overlay=${encodeURIComponent(id)}`,
    say: (text) => { find("missing").textContent = text; find("missing").hidden = !text; },
    texts,
  });
  const headers = document.getElementById("header");
  const header = headers && headerOf(headers, { address: () => `${base}/header/${uids[slices[at][0]]}.json`, texts });
  const fill = (text) => text.replace("{n}", at + 1).replace("{of}", slices.length);

  // ---- showing ----
  const size = (columns, rows) => {
    view.measure(columns, rows);
    outlines.size(columns, rows);
  };

  const settled = () => {
    wrong.hidden = true;
    stage.removeAttribute("aria-busy");
  };

  const show = (one) => {
    settled();
    canvas.hidden = true;
    shown.hidden = one.hidden = false;
    size(one.naturalWidth, one.naturalHeight);
    one.alt = fill(texts.slice);
    if (one === shown) return;
    shown.replaceWith(one);
    shown = one;
  };

  const showValues = () => {
    settled();
    values.draw(valuesAt(at), hand(), canvas);
    size(canvas.width, canvas.height);
    canvas.setAttribute("aria-label", fill(texts.slice));
    canvas.dataset.window = numbers();
    canvas.hidden = false;
    shown.hidden = true;
  };

  const fail = () => {
    stage.removeAttribute("aria-busy");
    wrong.hidden = false;
    shown.hidden = canvas.hidden = true; // another slice must not stand under this one's number
    askAgain();
  };

  const near = (ahead) => {
    const steps = [0];
    for (let step = 1; step <= Math.max(ahead, BEHIND); step += 1) {
      if (step <= ahead) steps.push(step * heading);
      if (step <= BEHIND) steps.push(-step * heading);
    }
    return steps.map((step) => at + step).filter((index) => index >= 0 && index < slices.length);
  };

  const update = () => {
    if (!stage.isConnected) return forget();
    const busy = () => { wrong.hidden = true; stage.setAttribute("aria-busy", "true"); };
    if (drawsValues()) {
      pictures.want([]);
      if (values.has(valuesAt(at))) showValues();
      else busy();
      values.want(near(3).map(valuesAt));
      return;
    }
    values?.want(pointer ? [valuesAt(at)] : []);
    const key = picture(at);
    const one = pictures.get(key);
    if (one) show(one);
    else if (pictures.hasFailed(key)) fail();
    else busy();
    pictures.want(near(pictures.ahead()).map(picture));
  };

  const say = () => {
    const distance = slices[at][2];
    const where = distance === null || !series.plane ? "" : `${series.plane}, ${millimetres(distance)}`;
    slider.value = at + 1;
    slider.setAttribute("aria-valuetext", `${fill(texts.slice)}${where ? `, ${where}` : ""}`);
    find("number").textContent = `${at + 1} / ${slices.length}`;
    find("where").textContent = where;
    const letters = series.letters.length > 1 ? series.letters[slices[at][3]] : series.letters[0];
    for (const [side, letter] of (letters ?? []).entries()) find(`letter=\"${side}\"`).textContent = letter;
  };
  const millimetres = (value) => `${value.toFixed(1).replace("-0.0", "0.0").replace("-", "\u2212")} mm`;

  const rests = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!stage.isConnected) return;
      const query = new URLSearchParams(location.search);
      query.set("series", series.uid);
      query.set("slice", at + 1);
      if (choice) query.set("window", choice.value);
      for (const [name, box] of [["center", center], ["width", width]]) {
        if (byHand()) query.set(name, plain(box.value));
        else query.delete(name);
      }
      history.replaceState(history.state, "", `?${query}`);
      if (pointer) read();
    }, REST);
  };

  const go = (index) => {
    const next = Math.min(Math.max(index, 0), slices.length - 1);
    if (next === at) return;
    heading = next > at ? 1 : -1;
    at = next;
    say();
    update();
    read();
    outlines.moved();
    header?.moved();
    rests();
  };

  // ---- values under the pointer ----
  const read = () => {
    if (!values || !pointer) { readout.textContent = ""; return; }
    const pixel = view.pixelAt(pointer);
    const value = pixel && values.at(valuesAt(at), ...pixel);
    if (pixel && value === undefined) values.want(near(drawsValues() ? 3 : 0).slice(0, drawsValues() ? 8 : 1).map(valuesAt));
    const unit = series.values.unit ? `\u202f${series.values.unit}` : "";
    const round = Number.isInteger(value) ? value : Number(value?.toPrecision(4));
    readout.textContent = value === undefined || !pixel ? "" : `x ${pixel[0]}  y ${pixel[1]}  ${String(round).replace("-", "\u2212")}${unit}`;
  };

  // ---- windows ----
  const windows = new Map((series.windows ?? []).map((one) => [one.name, one]));
  const setWindow = (c, w) => {
    center.value = plain(c);
    width.value = plain(Math.max(w, 0.001));
    choice.value = HAND;
    changed();
  };
  const changed = () => { update(); rests(); };
  const chosen = () => {
    const named = windows.get(choice.value);
    const one = named?.width ? named : windows.get("own-1") ?? named;
    if (one) [center.value, width.value] = one.width ? [plain(one.center), plain(one.width)] : ["", ""];
    changed();
  };
  const start = () => { // what is changed by hand begins with a window that has numbers
    if (Number(width.value) > 0) return;
    const one = windows.get("own-1") ?? windows.get("robust") ?? windows.get("full") ?? { center: 128, width: 256 };
    [center.value, width.value] = [plain(one.center), plain(one.width)];
  };
  const nudge = (dc, dw) => { // in hundredths of the width
    if (!choice) return;
    start();
    const wide = Math.max(Number(width.value), 0.001);
    const each = Number.isInteger(wide) && wide >= 20 ? Math.max(1, Math.round(wide / 100)) : wide / 100;
    setWindow(Number(center.value) + dc * each, Math.max(wide + dw * each, each >= 1 ? 1 : each));
  };

  // ---- the person ----
  const invert = (button = find("invert")) => {
    const on = plane.classList.toggle("inverted");
    button.setAttribute("aria-pressed", String(on));
  };
  const adjust = find("adjust");
  const setDrags = () => {
    dragsWindow = !dragsWindow;
    adjust.setAttribute("aria-pressed", String(dragsWindow));
    stage.classList.toggle("adjusting", dragsWindow);
  };
  const full = () => (document.fullscreenElement ? document.exitFullscreen() : section.requestFullscreen());
  const help = () => {
    const keys = section.querySelector("details.keys");
    keys.open = !keys.open;
    if (keys.open) keys.querySelector("summary").focus();
  };
  const preset = (index) => {
    const option = choice && [...choice.options].filter((one) => one.value !== HAND)[index];
    if (!option) return;
    choice.value = option.value;
    chosen();
  };

  const play = find("play");
  const cine = play && cineOf(play, find("rate"), {
    step: () => { heading = 1; if (at + 1 < slices.length) go(at + 1); else go(0); },
    isReady: () => drawsValues() || pictures.get(picture(at)) === shown || pictures.hasFailed(picture(at)),
    texts,
  });

  const step = (count) => { cine?.stop(); go(at + count); };
  const keys = {
    ArrowDown: () => step(1), ArrowRight: () => step(1), ArrowUp: () => step(-1), ArrowLeft: () => step(-1),
    PageDown: () => step(10), PageUp: () => step(-10), Home: () => step(-Infinity), End: () => step(Infinity),
    ShiftArrowDown: () => view.pan(0, -40), ShiftArrowUp: () => view.pan(0, 40),
    ShiftArrowLeft: () => view.pan(40, 0), ShiftArrowRight: () => view.pan(-40, 0),
    "+": () => view.zoomBy(1.25), "=": () => view.zoomBy(1.25), "-": () => view.zoomBy(0.8), 0: () => view.fit(),
    "[": () => nudge(-2, 0), "]": () => nudge(2, 0), "{": () => nudge(0, -5), "}": () => nudge(0, 5),
    i: () => invert(), f: full, o: () => outlines.toggle(), m: () => find("mosaic")?.click(), "?": help,
    ...(cine ? { " ": () => cine.toggle() } : {}),
    ...Object.fromEntries([...Array(9).keys()].map((index) => [index + 1, () => preset(index)])),
  };
  listen(stage, {
    step,
    pan: view.pan,
    zoomBy: view.zoomBy,
    fit: view.fit,
    isLarge: view.isLarge,
    drags: () => (dragsWindow ? "window" : ""),
    hasWindow: () => Boolean(choice),
    window: (dx, dy) => nudge(dy / 2, dx / 2),
    point: (here) => { pointer = here; read(); },
    leave: () => { pointer = null; read(); },
    keys,
  }, slices.length);

  slider.addEventListener("input", () => step(Number(slider.value) - 1 - at));
  choice?.addEventListener("change", chosen);
  for (const box of [center, width]) {
    box?.addEventListener("input", () => {
      if (box.value.trim() === "" || !Number.isFinite(Number(box.value)) || Number(width.value) <= 0) return;
      choice.value = HAND;
      changed();
    });
  }
  section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  find("invert")?.addEventListener("click", () => invert());
  adjust?.addEventListener("click", setDrags);
  find("larger").addEventListener("click", () => view.zoomBy(1.5));
  find("smaller").addEventListener("click", () => view.zoomBy(1 / 1.5));
  find("fit").addEventListener("click", () => view.fit());
  if (document.fullscreenEnabled) find("full").addEventListener("click", full);
  else find("full").remove();

  const forget = () => {
    cine?.stop();
    clearTimeout(timer);
    pictures.forget();
    values?.forget();
    outlines.forget();
    header?.forget();
    canvas.width = canvas.height = 0;
    shown.removeAttribute("src");
  };
  whenEnded(forget);

  for (const one of section.querySelectorAll("[data-without]")) one.hidden = true;
  for (const one of section.querySelectorAll("[data-with]")) one.hidden = false;
  stage.classList.add("live");
  say();
  const first = shown;
  const firstKey = picture(at);
  if (byHand()) update();
  else {
    first.decode().then(() => {
      pictures.keep(firstKey, first);
      if (picture(at) === firstKey) update();
    }, () => pictures.lose(firstKey));
  }
  outlines.moved();
};

const stage = document.getElementById("stage");
if (stage) begin(stage);
