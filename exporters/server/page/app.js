// The page of the server. Everything that comes over the network becomes text
// nodes, and the content security policy refuses whatever else is tried.

import { Chart, bytes, clock, rate } from "./chart.js";

const $ = (id) => document.getElementById(id);
const view = { host: "", direction: "", search: "", sort: "bytes", shown: 10 };
const FETCHED = 100, MOST = 1000; // domains, hosts
const EVERY = 5000, SELDOM = 10000; // milliseconds between refreshes: usually, and where no window came

const count = (n) => n.toLocaleString("en");
const percent = (part, digits) => `${(Math.floor(part * 100 * 10 ** digits) / 10 ** digits).toFixed(digits)} %`; // 99.999 is not 100
const seconds = (s) =>
  s < 0.9995 ? `${(s * 1000).toFixed(s < 0.00995 ? 1 : 0)} ms` : s < 120 ? `${s.toFixed(s < 9.95 && s % 1 ? 1 : 0)} s`
    : s < 7200 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;

async function api(path, query = {}) {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  const answer = await fetch(url);
  const body = await answer.json().catch(() => null);
  if (!answer.ok || !body) throw new Error(body?.error?.message ?? `the server answers ${answer.status}`);
  return body;
}

/** Rates tells how fast totals grow: over half a minute, as far as it has watched. */
class Rates {
  seen = new Map();

  note(name, total) {
    const now = performance.now();
    let all = this.seen.get(name);
    if (!all || total < all.at(-1).total) this.seen.set(name, (all = [])); // new, or counted anew
    all.push({ now, total });
    while (all.length > 2 && now - all[1].now >= 30000) all.shift();
  }

  of(name) {
    const all = this.seen.get(name);
    if (!all || all.length < 2) return null;
    return (all.at(-1).total - all[0].total) / ((all.at(-1).now - all[0].now) / 1000);
  }

  prune() {
    const now = performance.now();
    for (const [name, all] of this.seen) if (now - all.at(-1).now > 60000) this.seen.delete(name);
  }
}

const rates = { domains: new Rates(), sensors: new Rates() };

// put changes a cell only where it has to, so that nothing flickers or is read twice.
function put(cell, content) {
  const [text, state] = Array.isArray(content) ? content : [content, ""];
  if (typeof text === "string") {
    if (cell.textContent !== text) cell.textContent = text;
  } else if (cell.textContent !== text.textContent) cell.replaceChildren(text);
  if ((cell.dataset.state ?? "") !== state) cell.dataset.state = state;
}

/**
 * fill makes a table's rows those of items: key names a row and stays, head makes
 * its first cell, cells are the further ones. Who points at or stands in the table
 * does not have it reordered beneath, unless asked for.
 */
function fill(table, items, key, head, cells, reorder = true) {
  const body = table.tBodies[0];
  const old = new Map([...body.rows].map((row) => [row.key, row]));
  if (!reorder && body.matches(":hover, :focus-within")) {
    const place = new Map([...old.keys()].map((name, i) => [name, i]));
    items = [...items].sort((a, b) => (place.get(key(a)) ?? Infinity) - (place.get(key(b)) ?? Infinity) || 0);
  }
  const classes = [...table.tHead.rows[0].cells].map((cell) => cell.className);
  items.forEach((item, i) => {
    let row = old.get(key(item));
    if (row) old.delete(row.key);
    else {
      row = document.createElement("tr");
      row.key = key(item);
      const first = row.appendChild(document.createElement("th"));
      first.scope = "row";
      head(first, item);
    }
    head.update?.(row.cells[0], item);
    cells(item).forEach((content, n) => {
      const cell = row.cells[n + 1] ?? row.insertCell();
      cell.className = classes[n + 1];
      put(cell, content);
    });
    if (body.rows[i] !== row) {
      const focus = row.contains(document.activeElement) ? document.activeElement : null;
      body.insertBefore(row, body.rows[i] ?? null);
      focus?.focus({ preventScroll: true });
    }
  });
  for (const row of old.values()) row.remove();
}

// section runs what shows a part of the page, and says there what went wrong. Of
// two that overlap the later one is shown.
const turns = {};
async function section(name, ask, show) {
  const turn = (turns[name] = (turns[name] ?? 0) + 1);
  const problem = $(`${name}-problem`);
  try {
    const answer = await ask();
    if (turn !== turns[name]) return;
    show(answer);
    problem.hidden = true;
  } catch (error) {
    if (turn !== turns[name]) return;
    problem.textContent = `Not up to date: ${error.message}`;
    problem.hidden = false;
  }
}

const said = {
  "(unattributed)": "Traffic for which no name is known: no name in the connection, and no DNS answer that led to it.",
  "(other)": "Names beyond the budget of rows, added up.",
  "(retired)": "Names that were idle for long, added up.",
  "(excluded)": "Names that the configuration leaves out.",
};
const evidence = {
  sni: "TLS name (SNI)", http_host: "HTTP Host", quic_sni: "QUIC name (SNI)",
  dns_client: "DNS, same client", dns_any: "DNS, another client", none: "nothing",
};

// Domains. ---------------------------------------------------------------------

const domainHead = (cell, item) => {
  const link = cell.appendChild(document.createElement("a"));
  link.href = `#domain=${encodeURIComponent(item.domain)}`;
  item.domain.split(/(?=\.)/).forEach((part, i) => link.append(...(i ? [document.createElement("wbr")] : []), part));
  if (said[item.domain]) link.className = "sum";
};
domainHead.update = (cell, item) => cell.style.setProperty("--share", item.share.toFixed(4));

// What the server sorts by it sorts among all; names and rates are sorted here,
// among those with most bytes.
const sortedHere = () => view.sort === "name" || view.sort === "rate";

function domains(reorder) {
  const query = {
    host: view.host, direction: view.direction, search: view.search,
    sort: sortedHere() ? "bytes" : view.sort, limit: sortedHere() ? MOST : Math.max(FETCHED, view.shown),
  };
  return section("domains", () => api("domains", query), (answer) => {
    const list = answer.domains;
    for (const one of list) rates.domains.note(one.domain, one.bytes);
    rates.domains.prune();
    if (view.sort === "name") list.sort((a, b) => (a.domain < b.domain ? -1 : 1));
    if (view.sort === "rate") list.sort((a, b) => (rates.domains.of(b.domain) ?? -1) - (rates.domains.of(a.domain) ?? -1));
    const shown = list.slice(0, view.shown);
    const measure = (one) => (view.sort === "rate" ? rates.domains.of(one.domain) : one[view.sort] ?? one.bytes);
    const largest = Math.max(1, ...shown.map(measure));
    for (const one of shown) one.share = measure(one) / largest;
    fill($("domain-table"), shown, (one) => one.domain, domainHead, (one) => {
      const now = rates.domains.of(one.domain);
      return [bytes(one.bytes), now === null ? "–" : now < 0.5 ? ["0", "idle"] : rate(now), bytes(one.bytes_received), bytes(one.bytes_sent),
        count(one.connections), count(one.accesses)];
    }, reorder);
    const of = answer.total === 1 ? "1 domain" : `${count(answer.total)} domains`;
    const found = view.search ? ` with “${view.search}”` : "";
    const among = sortedHere() && answer.total > MOST ? `, of the ${count(MOST)} with most bytes` : "";
    const line = answer.total === 0 ? `No domains${found} yet` : `${shown.length < answer.total ? `${shown.length} of ` : ""}${of}${found}${among}`;
    put($("domain-count"), line);
    if (reorder) put($("said"), line); // to who does not see: after an action of theirs alone
    $("more").hidden = shown.length >= Math.min(answer.total, MOST);
  });
}

// DNS. -------------------------------------------------------------------------

function dns() {
  return section("dns", () => api("dns", { host: view.host, limit: 20 }), (answer) => {
    fill($("dns-table"), answer.resolvers, (one) => one.resolver, (cell, one) => (cell.textContent = one.resolver), (one) => {
      const answers = Object.entries(one.rcodes).filter(([code, n]) => code !== "unanswered" && n > 0).sort((a, b) => b[1] - a[1]);
      const answered = answers.reduce((sum, [, n]) => sum + n, 0);
      const list = document.createElement("span");
      answers.forEach(([code, n], i) => {
        const failing = (code === "servfail" || code === "refused") && n > answered / 20;
        if (i > 0) list.append(", ");
        put(list.appendChild(document.createElement("span")), [`${code} ${percent(n / answered, 1)}`, failing ? "bad" : ""]);
      });
      const lost = one.queries ? one.unanswered / one.queries : 0;
      const within = (quantile) => (one.latency_seconds ? seconds(one.latency_seconds[quantile]) : "–");
      return [
        count(one.queries),
        answers.length ? list : "none",
        [percent(lost, 1), lost > 0.05 ? "bad" : lost > 0.01 ? "warn" : ""],
        within("p50"), within("p90"), within("p99"),
      ];
    });
    const types = Object.entries(answer.types).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]).slice(0, 4);
    const asked = types.map(([type, n]) => `${type} ${percent(n / answer.queries, 0)}`).join(", ");
    const rest = answer.total > answer.count ? `, the ${answer.count} most asked of ${count(answer.total)} resolvers` : "";
    put($("dns-count"), answer.queries ? `${count(answer.queries)} queries${rest}: ${asked}` : "No queries yet");
  });
}

// Sensors. ---------------------------------------------------------------------

const sensorHead = (cell, one) => (cell.textContent = one.id);

function sensors(totals) {
  return section("sensors", () => api("agents"), (answer) => {
    const list = answer.agents.sort((a, b) => (b.status === "offline") - (a.status === "offline"));
    for (const one of totals?.by_agent ?? []) rates.sensors.note(one.id, one.bytes);
    fill($("sensor-table"), list.slice(0, FETCHED), (one) => one.id, sensorHead, (one) => {
      const now = rates.sensors.of(one.id), covered = one.coverage_ratio;
      const state = one.conflict ? ["in conflict", "bad"] : one.status === "online" ? ["online", "good"]
        : [`offline for ${seconds((Date.now() - Date.parse(one.last_seen)) / 1000)}`, "bad"];
      return [
        state,
        now === null || one.status !== "online" ? "–" : rate(now),
        [one.lag_seconds < 1 ? "0 s" : seconds(Math.round(one.lag_seconds)), one.status === "online" && one.lag_seconds > 60 ? "warn" : ""],
        covered === null ? "–" : [percent(covered, 2), covered < 0.99 ? "bad" : covered < 0.999 ? "warn" : ""],
        one.imbalance_bytes ? [`${count(one.imbalance_bytes)} B`, "bad"] : "0",
        one.version || "–", one.addresses.join(", ") || "–",
      ];
    });
    put($("sensor-count"), answer.count === 0 ? "No sensors yet" : `${count(answer.online)} online, ${count(answer.offline)} offline`
      + (answer.count > FETCHED ? `; ${FETCHED} are shown, those offline first` : ""));
    put($("now-sensors"), [`${count(answer.online)} of ${count(answer.count)}`, answer.offline ? "warn" : ""]);
    hosts(answer.agents.map((one) => one.id).sort());
  });
}

function hosts(ids) {
  const select = $("host"), wanted = ["", ...ids.slice(0, MOST)];
  if (view.host && !wanted.includes(view.host)) wanted.push(view.host);
  const options = [...select.options];
  if (options.length === wanted.length && wanted.every((id, i) => options[i].value === id)) return;
  select.replaceChildren(...wanted.map((id) => new Option(id || "all sensors", id, false, id === view.host)));
}

// The hour, and the totals. ------------------------------------------------------

const chart = new Chart($("chart"), $("scrub"), $("moment"));

function traffic() {
  return section("traffic", () => api("traffic", { host: view.host, limit: 1 }), (answer) => {
    const { sent, received } = answer.total;
    const hour = { end: Date.parse(answer.end), step: answer.resolution_seconds, sent, received };
    chart.show(hour);
    const size = 300 / hour.step, parts = [];
    const mean = (values, from) => values.slice(from, from + size).reduce((sum, v) => sum + v, 0) / size;
    for (let i = sent.length - size; i >= 0; i -= size) parts.push({ at: hour.end - (sent.length - i) * hour.step * 1000, i });
    fill($("hour"), parts, (part) => part.i, () => {}, (part) => [rate(mean(received, part.i)), rate(mean(sent, part.i))]);
    [...$("hour").tBodies[0].rows].forEach((row, i) => put(row.cells[0], clock(parts[i].at)));
    if (!live.is && !view.host) speed(received, sent);
  });
}

// speed shows what passed in the last half minute, for who is told no digests.
function speed(received, sent) {
  const mean = (values) => values.slice(-3).reduce((sum, v) => sum + v, 0) / 3;
  put($("now-received"), rate(mean(received)));
  put($("now-sent"), rate(mean(sent)));
}

async function totals() {
  let all;
  await section("stats", () => api("stats"), (answer) => {
    all = answer;
    put($("now-bytes"), bytes(answer.total.bytes));
    put($("now-connections"), count(answer.total.connections));
    put($("now-named"), answer.named_ratio === null ? "–" : percent(answer.named_ratio, 1));
  });
  return all;
}

// One domain. --------------------------------------------------------------------

const dialog = $("detail");

function wanted() {
  const [, name] = location.hash.match(/^#domain=(.+)$/) ?? [];
  try {
    return name && decodeURIComponent(name);
  } catch {
    return ""; // not one of our links
  }
}

function detail() {
  const name = wanted();
  if (!name) {
    if (dialog.open) dialog.close();
    return undefined;
  }
  if ($("detail-title").textContent !== name) {
    $("detail-title").textContent = name;
    $("detail-text").textContent = said[name] ?? "";
    $("detail-table").tBodies[0].replaceChildren();
  }
  if (!dialog.open) dialog.showModal();
  return section("detail", () => api(`domains/${encodeURIComponent(name)}`), ({ places, sum }) => {
    const at = new Set(places.map((p) => p.host)).size;
    put($("detail-text"), `${said[name] ?? ""} ${bytes(sum.bytes_received)} received, ${bytes(sum.bytes_sent)} sent in ${count(sum.connections)} connections, seen by ${at === 1 ? "one sensor" : `${count(at)} sensors`}.`.trim());
    places.sort((a, b) => b.bytes - a.bytes);
    fill($("detail-table"), places, (p) => `${p.host}\n${p.interface}\n${p.direction}`, (cell, p) => (cell.textContent = p.host), (p) => [
      p.interface, p.direction, p.sources.map((s) => evidence[s] ?? s).join(", ") || "–",
      bytes(p.bytes_received), bytes(p.bytes_sent), count(p.connections), count(p.accesses),
    ], false);
  });
}

addEventListener("hashchange", detail);
dialog.addEventListener("close", () => wanted() && history.pushState(null, "", location.pathname + location.search));

// What is asked for. ---------------------------------------------------------------

let typing;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    view.search = $("search").value.trim();
    domains(true);
  }, 200);
});
$("direction").addEventListener("change", () => {
  view.direction = $("direction").value;
  rates.domains = new Rates(); // these are other totals
  domains(true);
});
$("host").addEventListener("change", () => {
  view.host = $("host").value;
  rates.domains = new Rates();
  refresh(true);
});
$("more").addEventListener("click", () => {
  view.shown = Math.min(MOST, view.shown + 20);
  domains(true);
});
$("domain-table").tHead.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  view.sort = button.dataset.sort;
  for (const cell of $("domain-table").tHead.rows[0].cells) {
    const sorted = cell.contains(button);
    cell.setAttribute("aria-sort", !sorted ? "none" : view.sort === "name" ? "ascending" : "descending");
  }
  domains(true);
});

// When. ------------------------------------------------------------------------------

// live is the stream of digests, whether one came lately, and what it told.
const live = { events: null, is: false, heard: 0, windows: -1, shown: -1 };
let refreshed = -Infinity, busy = false, reached = true;

async function refresh(reorder = false) {
  if (busy) return;
  busy = true;
  refreshed = performance.now();
  live.shown = live.windows;
  await Promise.all([totals().then(sensors), traffic(), domains(reorder), dns(), dialog.open && detail()]);
  reached = $("stats-problem").hidden;
  busy = false;
  state();
}

function state() {
  const [text, name] = !reached ? ["No answer", "bad"] : live.is ? ["Live", "good"] : [`Every ${EVERY / 1000} s`, "warn"];
  put($("live"), [text, name]);
}

function listen() {
  live.events?.close();
  const events = (live.events = new EventSource(new URL("api/v1/events", document.baseURI)));
  events.addEventListener("digest", (event) => {
    const digest = JSON.parse(event.data);
    Object.assign(live, { is: true, heard: performance.now(), windows: digest.windows_applied });
    put($("now-received"), rate(digest.received_bytes_per_second));
    put($("now-sent"), rate(digest.sent_bytes_per_second));
    state();
  });
  events.addEventListener("error", () => {
    live.is = false;
    if (refreshed > 0) state();
    if (events.readyState === EventSource.CLOSED) setTimeout(() => live.events === events && listen(), 30000); // refused: the browser does not come back by itself
  });
}

// A page that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return listen();
  live.events?.close();
  live.events = null;
  live.is = false;
});

setInterval(() => {
  const now = performance.now();
  if (document.hidden) return;
  if (live.is && now - live.heard > 10000) live.is = false;
  const due = live.is && live.windows === live.shown ? SELDOM : EVERY;
  if (now - refreshed >= due) refresh();
}, 500);

listen();
refresh();
detail();
api("status").then((answer) => put($("version"), answer.version), () => {}); // refresh says what is wrong
