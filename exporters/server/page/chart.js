// The chart of the last hour: received above the line, sent below, on one scale.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 240, TOP = 10, BOTTOM = 24, LEFT = 74, RIGHT = 10;

/** bytes writes a number of bytes with three digits. */
export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
  let i = 0;
  for (; n >= 999.5 && i < units.length - 1; i++) n /= 1000;
  const digits = i === 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;
  return `${n.toFixed(digits)} ${units[i]}`;
}

export const rate = (n) => `${bytes(n)}/s`;

export const clock = (t, seconds) =>
  new Date(t).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined });

function make(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// tick is a round distance of lines for a range: four to eight of them.
function tick(range) {
  const power = 10 ** Math.floor(Math.log10(range / 4));
  return [5, 2, 1].map((n) => n * power).find((step) => range / step >= 4) ?? power;
}

/** Chart draws into an svg; the range input over it picks a moment. */
export class Chart {
  constructor(svg, scrub, output) {
    Object.assign(this, { svg, scrub, output, hour: null, held: false });
    const pick = (event) => {
      const box = svg.getBoundingClientRect();
      const width = box.width - LEFT - RIGHT;
      const last = this.hour ? this.hour.sent.length - 1 : 0;
      scrub.value = Math.round(Math.min(1, Math.max(0, (event.clientX - box.left - LEFT) / width)) * last);
      this.hold(true);
    };
    scrub.addEventListener("pointermove", pick);
    scrub.addEventListener("pointerdown", pick);
    scrub.addEventListener("input", () => this.hold(true));
    scrub.addEventListener("focus", () => scrub.matches(":focus-visible") && this.hold(true));
    scrub.addEventListener("pointerleave", () => scrub.matches(":focus-visible") || this.hold(false));
    scrub.addEventListener("blur", () => this.hold(false));
    new ResizeObserver(() => this.draw()).observe(svg.parentElement);
  }

  /** show takes an hour: end in milliseconds, step in seconds, sent and received in bytes per second. */
  show(hour) {
    this.hour = hour;
    this.scrub.max = hour.sent.length - 1;
    this.draw();
  }

  hold(held) {
    this.held = held;
    this.point();
  }

  time(i) {
    return this.hour.end - (this.hour.sent.length - i) * this.hour.step * 1000;
  }

  draw() {
    const width = this.svg.parentElement.clientWidth;
    if (!this.hour || !width) return;
    const { sent, received } = this.hour;
    const up = Math.max(...received), down = Math.max(...sent);
    const inner = HEIGHT - TOP - BOTTOM;
    const step = up + down > 0 ? tick(up + down) : 1;
    // Neither half is thinner than one line, so that a line and its number fit.
    const high = Math.max(1, Math.ceil(up / step)) * step, low = Math.max(1, Math.ceil(down / step)) * step;
    const y = (value) => TOP + ((high - value) / (high + low)) * inner;
    this.x = (i) => LEFT + (i / (sent.length - 1)) * (width - LEFT - RIGHT);
    const area = (values, sign) => {
      const points = values.map((v, i) => `${this.x(i).toFixed(1)},${y(sign * v).toFixed(1)}`);
      return { line: `M${points.join("L")}`, area: `M${this.x(0)},${y(0)}L${points.join("L")}L${this.x(values.length - 1)},${y(0)}Z` };
    };
    const parts = [];
    for (let v = -low; v <= high + step / 2; v += step) {
      const zero = Math.abs(v) < step / 2;
      parts.push(make("line", { class: zero ? "zero" : "grid", x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) }));
      if (up + down > 0 || zero) parts.push(make("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, zero ? "0" : rate(Math.abs(v)).replace(/\.?0+ /, (zeros) => (zeros[0] === "." ? " " : zeros))));
    }
    const minutes = width < 560 ? 20 : 10;
    const first = Math.ceil(this.time(0) / (minutes * 60000)) * minutes * 60000;
    for (let t = first; t <= this.hour.end; t += minutes * 60000) {
      const x = this.x((t - this.time(0)) / (this.hour.step * 1000));
      if (x < LEFT + 16 || x > width - RIGHT - 16) continue;
      parts.push(make("line", { class: "grid", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
      parts.push(make("text", { x, y: HEIGHT - 6, "text-anchor": "middle" }, clock(t)));
    }
    for (const [kind, values, sign] of [["received", received, 1], ["sent", sent, -1]]) {
      const path = area(values, sign);
      parts.push(make("path", { class: `area ${kind}`, d: path.area }), make("path", { class: `line ${kind}`, d: path.line }));
    }
    this.cursor = make("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.setAttribute("height", HEIGHT);
    this.svg.setAttribute("aria-label", up + down > 0
      ? `Traffic in the last hour. Received: at most ${rate(up)}, now ${rate(received.at(-1))}. Sent: at most ${rate(down)}, now ${rate(sent.at(-1))}.`
      : "No traffic in the last hour");
    this.svg.replaceChildren(...parts, this.cursor);
    this.point();
  }

  // point says what was at the moment that is picked.
  point() {
    if (!this.hour || !this.cursor) return;
    const i = this.held ? Number(this.scrub.value) : this.hour.sent.length - 1;
    const text = `${clock(this.time(i), true)}: ${rate(this.hour.received[i])} received, ${rate(this.hour.sent[i])} sent`;
    this.cursor.setAttribute("x1", this.x(i));
    this.cursor.setAttribute("x2", this.x(i));
    this.cursor.setAttribute("visibility", this.held ? "visible" : "hidden");
    if (!this.held) this.scrub.value = i;
    this.scrub.setAttribute("aria-valuetext", text);
    this.output.textContent = this.held ? text : "";
  }
}
