// Stored values of 16 bits, and what a window makes of them: the same shades that the node draws (PS3.3 section
// C.11.2.1.2), by a table with an entry for each value.
const KEPT_BYTES = 64e6;
const AT_ONCE = 2;

const even = (grey) => { // as numpy rounds: halves to the even number
  const near = Math.round(grey);
  return grey % 1 === 0.5 && near % 2 ? near - 1 : near;
};

const part = (value, { center, width, shape }) => {
  if (shape === "sigmoid" && width > 0) {
    return 1 / (1 + Math.exp(Math.min(Math.max((-4 * (value - center)) / width, -500), 500)));
  }
  if (shape === "linear-exact") return (value - center) / Math.max(width, 1e-9) + 0.5;
  if (width <= 1) return value <= center - 0.5 ? 0 : 1;
  return (value - (center - 0.5)) / (width - 1) + 0.5;
};

/** For each stored value, the colour of its pixel. `kind`: type, slope, intercept, invert. */
const tableOf = (kind, window) => {
  const low = kind.type === "int16" ? -32768 : 0;
  const shades = new Uint32Array(65536);
  for (let number = 0; number < 65536; number += 1) {
    const value = (number + low) * kind.slope + kind.intercept;
    const grey = Math.min(Math.max(part(value, window), 0), 1) * 255;
    const shade = even(kind.invert ? 255 - grey : grey);
    shades[number] = (0xff000000 | (shade << 16) | (shade << 8) | shade) >>> 0;
  }
  return shades;
};

/** The stored values of a series, by address. `ready(key)` and `failed(key)` are called as they come. */
export const valueStore = (kind, { ready, failed: say }) => {
  const Stored = kind.type === "int16" ? Int16Array : Uint16Array;
  const count = kind.rows * kind.columns;
  const most = Math.max(2, Math.floor(KEPT_BYTES / (count * 2)));
  const held = new Map(); // address -> values, the ones used last at the end
  const loading = new Map(); // address -> what ends its request
  const failed = new Set();
  let wanted = [];
  let shades = null;
  let shadesOf = "";

  const fetchOne = async (key) => {
    const stop = new AbortController();
    loading.set(key, stop);
    try {
      const answer = await fetch(key, { signal: stop.signal });
      const bytes = answer.ok ? await answer.arrayBuffer() : null;
      if (loading.get(key) !== stop) return;
      loading.delete(key);
      if (bytes?.byteLength !== count * 2) throw new Error("no values");
      held.set(key, new Stored(bytes));
      for (const old of held.keys()) {
        if (held.size <= most) break;
        held.delete(old);
      }
      ready(key);
    } catch {
      if (stop.signal.aborted) return;
      loading.delete(key);
      failed.add(key);
      say(key);
    }
    fetchNext();
  };

  const fetchNext = () => {
    for (const [key, stop] of loading) {
      if (wanted.includes(key)) continue;
      loading.delete(key);
      stop.abort();
    }
    for (const key of wanted) {
      if (loading.size >= AT_ONCE) break;
      if (!held.has(key) && !loading.has(key) && !failed.has(key)) fetchOne(key);
    }
  };

  return {
    want: (keys) => { wanted = keys.slice(0, most); fetchNext(); },
    has: (key) => held.has(key),
    hasFailed: (key) => failed.has(key),
    /** The value at a place in its unit, after the modality LUT; undefined when not there. */
    at: (key, x, y) => {
      const stored = held.get(key)?.[y * kind.columns + x];
      return stored === undefined ? undefined : (stored * kind.slope + kind.intercept) * (kind.scale ?? 1);
    },
    /** Draw them as the window says. */
    draw: (key, window, canvas) => {
      const values = held.get(key);
      const name = JSON.stringify(window);
      if (name !== shadesOf) [shades, shadesOf] = [tableOf(kind, window), name];
      const offset = kind.type === "int16" ? 32768 : 0;
      if (canvas.width !== kind.columns || canvas.height !== kind.rows) {
        canvas.width = kind.columns;
        canvas.height = kind.rows;
      }
      const context = canvas.getContext("2d");
      const image = context.createImageData(kind.columns, kind.rows);
      const out = new Uint32Array(image.data.buffer);
      for (let place = 0; place < count; place += 1) out[place] = shades[values[place] + offset];
      context.putImageData(image, 0, 0);
    },
    forget: () => {
      for (const stop of loading.values()) stop.abort();
      loading.clear();
      held.clear();
      wanted = [];
    },
  };
};
