// Pictures that the node has drawn: those about to be seen are fetched before they are asked for, and of those that
// were seen a bounded number of pixels stays in memory.
const KEPT = 120; // pictures at most
const KEPT_PIXELS = 48e6; // of all pictures in memory, some 200 MB
const AT_ONCE = 4; // fetched at the same time
const AGAIN = 5_000; // ms until a picture that failed is asked for again

/** A store of pictures. `ready(key, picture)` and `failed(key)` are called as they come. */
export const pictureStore = ({ ready, failed: say }) => {
  const pictures = new Map(); // address -> picture, the one used last at the end
  const loading = new Map(); // address -> picture that is on its way
  const failed = new Map(); // address -> when
  let wanted = [];
  let largest = 1;

  const size = (picture) => picture.naturalWidth * picture.naturalHeight;

  const keep = (key, picture) => {
    pictures.delete(key);
    pictures.set(key, picture);
    largest = Math.max(largest, size(picture));
    const most = Math.max(4, Math.min(KEPT, Math.floor(KEPT_PIXELS / largest)));
    for (const old of pictures.keys()) {
      if (pictures.size <= most) break;
      pictures.delete(old);
    }
  };

  const lose = (key) => {
    loading.delete(key);
    failed.set(key, Date.now());
    say(key);
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
      failed.delete(key);
      keep(key, picture);
      ready(key, picture);
      fetchNext();
    }, () => { if (loading.get(key) === picture) lose(key); });
  };

  const fetchNext = () => {
    for (const [key, picture] of loading) {
      if (wanted.includes(key)) continue;
      loading.delete(key);
      picture.removeAttribute("src"); // ends the request
    }
    for (const key of wanted) {
      if (loading.size >= AT_ONCE) break;
      const rests = Date.now() - (failed.get(key) ?? 0) < AGAIN;
      if (!pictures.has(key) && !loading.has(key) && !rests) fetchOne(key);
    }
  };

  return {
    /** Fetch these, the first first; what else is on its way is given up. */
    want: (keys) => { wanted = keys; fetchNext(); },
    get: (key) => {
      const picture = pictures.get(key);
      if (picture) keep(key, picture);
      return picture;
    },
    keep,
    lose,
    hasFailed: (key) => failed.has(key),
    /** How many slices ahead are worth fetching. */
    ahead: () => Math.max(1, Math.min(8, Math.floor(KEPT_PIXELS / largest / 4))),
    forget: () => {
      for (const picture of [...loading.values(), ...pictures.values()]) picture.removeAttribute("src");
      loading.clear();
      pictures.clear();
      wanted = [];
    },
  };
};
