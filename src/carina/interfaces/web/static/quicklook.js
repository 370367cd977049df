// The quick look at a series: slices by slider, keys and wheel; the next ones are fetched before they are asked
// for. And the end of it: when the node says that the permit holds no longer, or says nothing, all images go.
"use strict";

(() => {
  const KEPT = 120; // pictures that stay in memory
  const AHEAD = 8; // slices fetched in the direction of the last step
  const BEHIND = 2;
  const AT_ONCE = 4; // fetched at the same time
  const SILENCE = 40_000; // ms without a word from the node, after which images are hidden
  const STEP = 40; // px of the wheel for one slice
  const AGAIN = 5_000; // ms until a picture that failed is asked for again

  const pictures = new Map(); // address -> picture, the one used last at the end
  const loading = new Map(); // address -> picture that is on its way
  const failed = new Map(); // address -> when
  let heard = Date.now();

  const forget = () => {
    for (const picture of [...loading.values(), ...pictures.values()]) picture.removeAttribute("src");
    loading.clear();
    pictures.clear();
  };

  // ---- the permit ----
  const access = document.getElementById("access");
  const silent = document.getElementById("silent");
  const look = () => { if (access?.isConnected) window.htmx?.trigger(access, "look"); };

  if (access) {
    document.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.elt === access && event.detail.xhr.status) heard = Date.now();
    });
    document.addEventListener("htmx:afterSwap", (event) => {
      if (event.detail.target.id !== "main") return;
      forget();
      event.detail.target.focus();
    });
    setInterval(() => {
      if (!access.isConnected || Date.now() - heard < SILENCE) return;
      forget();
      document.getElementById("main").replaceChildren(silent.content.cloneNode(true));
    }, 2_000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  }

  // ---- the slices ----
  const stage = document.getElementById("stage");
  if (!stage) return;
  const slices = JSON.parse(stage.dataset.slices);
  const slider = document.getElementById("slice");
  const choice = document.getElementById("window");
  const number = stage.querySelector("[data-number]");
  const where = stage.querySelector("[data-where]");
  const wrong = stage.querySelector("[data-wrong]");
  let shown = stage.querySelector("img");
  let at = Number(slider.value) - 1;
  let heading = 1;

  const address = (index) => {
    const [uid, frame] = slices[index];
    const ends = choice?.selectedOptions[0]?.dataset.window;
    return `${stage.dataset.base}${uid}/frames/${frame}/rendered?accept=image/png${ends ? `&window=${ends}` : ""}`;
  };

  const keep = (key, picture) => {
    pictures.delete(key);
    pictures.set(key, picture);
    for (const old of pictures.keys()) {
      if (pictures.size <= KEPT) break;
      pictures.delete(old);
    }
  };

  const wanted = () => {
    const steps = [0];
    for (let step = 1; step <= Math.max(AHEAD, BEHIND); step += 1) {
      if (step <= AHEAD) steps.push(step * heading);
      if (step <= BEHIND) steps.push(-step * heading);
    }
    return steps.map((step) => at + step).filter((index) => index >= 0 && index < slices.length).map(address);
  };

  const show = (picture) => {
    wrong.hidden = true;
    failed.clear();
    shown.hidden = picture.hidden = false;
    stage.removeAttribute("aria-busy");
    if (picture === shown) return;
    picture.alt = `${stage.dataset.kind}, slice ${at + 1} of ${slices.length}`;
    shown.replaceWith(picture);
    shown = picture;
  };

  const fail = (key) => {
    loading.delete(key);
    failed.set(key, Date.now());
    if (key === address(at)) {
      stage.removeAttribute("aria-busy");
      wrong.hidden = false;
      shown.hidden = true; // another slice must not stand under this one's number
      look(); // perhaps the permit has ended
    }
    fetchNext();
  };

  const fetchOne = (key) => {
    const picture = new Image();
    picture.draggable = false;
    picture.decoding = "async";
    loading.set(key, picture);
    picture.src = key;
    picture.decode().then(() => {
      if (loading.get(key) !== picture) return; // no longer wanted
      loading.delete(key);
      keep(key, picture);
      if (key === address(at)) show(picture);
      fetchNext();
    }, () => { if (loading.get(key) === picture) fail(key); });
  };

  const fetchNext = () => {
    if (!stage.isConnected) return forget();
    const keys = wanted();
    for (const [key, picture] of loading) {
      if (keys.includes(key)) continue;
      loading.delete(key);
      picture.removeAttribute("src"); // ends the request
    }
    for (const key of keys) {
      if (loading.size >= AT_ONCE) break;
      const rests = Date.now() - (failed.get(key) ?? 0) < AGAIN;
      if (!pictures.has(key) && !loading.has(key) && !rests) fetchOne(key);
    }
  };

  const say = () => {
    const place = slices[at][2];
    slider.value = at + 1;
    slider.setAttribute("aria-valuetext", `${at + 1} of ${slices.length}${place ? `, ${place}` : ""}`);
    number.textContent = `${at + 1} / ${slices.length}`;
    where.textContent = place;
  };

  const update = () => {
    say();
    const key = address(at);
    const picture = pictures.get(key);
    if (picture) {
      keep(key, picture);
      show(picture);
    } else {
      wrong.hidden = !failed.has(key);
      shown.hidden = failed.has(key);
      stage.setAttribute("aria-busy", "true");
    }
    fetchNext();
  };

  const go = (index) => {
    const next = Math.min(Math.max(index, 0), slices.length - 1);
    if (next === at) return;
    heading = next > at ? 1 : -1;
    at = next;
    update();
  };

  slider.addEventListener("input", () => go(Number(slider.value) - 1));
  choice?.addEventListener("change", update);

  const KEYS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
  stage.addEventListener("keydown", (event) => {
    const step = KEYS[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(at + step);
  });

  let turned = 0;
  stage.addEventListener("wheel", (event) => {
    if (event.ctrlKey || slices.length < 2) return; // the browser's own zoom
    event.preventDefault();
    turned += event.deltaMode === 0 ? event.deltaY : Math.sign(event.deltaY) * STEP;
    const steps = Math.trunc(turned / STEP);
    turned -= steps * STEP;
    if (steps) go(at + steps);
  }, { passive: false });

  for (const button of document.querySelectorAll("[data-without]")) button.hidden = true;
  stage.classList.add("live");
  const first = shown;
  const firstKey = address(at);
  first.decode().then(() => keep(firstKey, first), () => fail(firstKey));
  say();
  fetchNext();
})();
