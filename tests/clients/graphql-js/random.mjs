// Chance that can be repeated: the same seed makes the same draws, on every machine.

/** 32 bits of a text. */
function hash(text) {
  let h = 0x811c9dc5;
  for (const char of text) h = Math.imul(h ^ char.codePointAt(0), 0x01000193);
  return h >>> 0;
}

export class Random {
  /** The draws of `seed`; `parts` name a stream of its own below it. */
  constructor(seed, ...parts) {
    this.state = hash([seed, ...parts].join(":"));
  }

  /** 32 bits (splitmix32). */
  bits() {
    this.state = (this.state + 0x9e3779b9) >>> 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  }

  /** A whole number from 0 to `end` - 1. */
  below(end) {
    return Math.floor((this.bits() / 2 ** 32) * end);
  }

  /** A whole number from `low` to `high`, both included. */
  between(low, high) {
    return low + this.below(high - low + 1);
  }

  /** True with this probability. */
  chance(probability) {
    return this.bits() / 2 ** 32 < probability;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** A copy in another order. */
  shuffled(list) {
    const copy = [...list];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [copy[i], copy[j]] = [copy[j], copy[i]];
    }
    return copy;
  }
}
