// Frames one after the other at a rate that a person sets. Nothing moves before they ask for it.

/** A button that plays. `step`: to the next frame, from the last to the first; `isReady`: whether that one is here. */
export const cineOf = (button, rate, { step, isReady, texts }) => {
  let timer = 0;
  let playing = false;

  const tick = () => {
    if (!button.isConnected) return stop();
    const began = performance.now();
    if (isReady()) step();
    const each = 1000 / Math.min(Math.max(Number(rate.value) || 1, 1), 60);
    timer = setTimeout(tick, Math.max(4, each - (performance.now() - began)));
  };
  const say = () => {
    button.setAttribute("aria-pressed", String(playing));
    button.textContent = playing ? texts.pause : texts.play;
  };
  const stop = () => {
    clearTimeout(timer);
    playing = false;
    say();
  };
  const toggle = () => {
    if (playing) return stop();
    playing = true;
    say();
    tick();
  };
  button.addEventListener("click", toggle);
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); });
  return { toggle, stop };
};
