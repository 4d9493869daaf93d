"use strict";
// Runs every case against Segment's published packages and against Kohorta, and writes what happened into docs/peers.md,
// between its marks. With --check it writes nothing and fails when the page says something else. With a name it runs
// the cases that contain it and prints them.

const fs = require("node:fs");
const path = require("node:path");
const { Sandbox } = require("./sandbox");
const { Segment, version } = require("./segment");
const { Kohorta } = require("./kohorta");
const { cases, creating, values, companion, five, phone, sha256 } = require("./cases");

const root = path.join(__dirname, "../../..");
const page = path.join(root, "docs/peers.md");
const binary = path.join(root, "bin/kohorta");
const platforms = ["meta", "tiktok"];

// Side is one of the compared in one case.
class Side {
  constructor(sandbox, platform, key) {
    Object.assign(this, { sandbox, platform, key, said: [] });
  }
  inject(kind, fault) {
    return this.sandbox.inject(this.platform, kind, fault);
  }
  vanish() {
    return this.sandbox.vanish(this.platform, this.id);
  }
}

class SegmentSide extends Side {
  constructor(sandbox, of, key) {
    super(sandbox, of.split("-")[0], key);
    this.segment = new Segment(of, sandbox.url);
  }
  async create() {
    this.id = await this.segment.create(this.key);
  }
  async change(entering, leaving) {
    try {
      const rows = await this.segment.change(this.id, entering, leaving);
      this.said.push(tally(rows.map((r) => (r.status === 200 ? "status 200" : `status ${r.status}: ${scrub(r.errormessage)}`))) || "nothing");
    } catch (err) {
      this.said.push(`throws: ${scrub(err.message)}`);
    }
  }
  // The packages remember nothing between two calls.
  async later() {
    this.said.push("nothing is left to do");
  }
}

class KohortaSide extends Side {
  constructor(sandbox, kohorta, platform, key) {
    super(sandbox, platform, key);
    this.kohorta = kohorta;
  }
  create() {
    return this.kohorta.create(this.key, this.platform);
  }
  async change(entering, leaving) {
    const dropped = await this.kohorta.change(this.key, entering, leaving);
    await this.sync(dropped.map((d) => `left out: ${scrub(d)}`));
  }
  async later() {
    await this.ended(await this.kohorta.resumed(this.key), ["by itself"]);
  }
  async sync(said) {
    await this.ended(await this.kohorta.sync(this.key), said);
  }
  async ended(run, said) {
    this.id = await this.kohorta.platformID(this.key);
    this.said.push([...said, ...outcome(run)].join("; ") || "nothing to do");
  }
}

// outcome is what a run says.
function outcome(run) {
  const counted = Object.entries(run.counts).filter(([name, n]) => n > 0 && /^(additions|removals|changes|suppressed)\./.test(name) && !name.endsWith(".planned"));
  const said = counted.map(([name, n]) => {
    const [kind, what] = name.split(".");
    return kind === "suppressed" ? `${n} not sent (${what})` : `${kind} ${n} ${what}`;
  }).sort();
  said.push(...run.notes.filter((n) => n.includes("rejected")).map((n) => n.replace(/^.*?: /, "reason: ")));
  if (run.error) said.push(`run failed: ${run.error.replace(/^sync audience \S+: /, "")}`);
  return said.map(scrub);
}

// tally joins equal texts with their number.
function tally(texts) {
  const counts = new Map();
  for (const t of texts) counts.set(t, (counts.get(t) ?? 0) + 1);
  return [...counts].map(([t, n]) => `${n} × ${t}`).join("; ");
}

// scrub makes a text the same in every run, and fit for a cell: without addresses, ids, and what HTTP says of its status.
function scrub(text) {
  return String(text).replace('message: "Bad Request". ', "").replace(/http:\S+|127\.0\.0\.1:\d+|\d{8,}|\b[\w-]+-(meta|tiktok)[\w-]*\b/g, "…")
    .replace(/\|/g, "/").replace(/\s+/g, " ").trim();
}

// run takes one side through one case.
async function run(side, c) {
  side.segment?.keepVersion(false);
  await side.create();
  const people = five(side.key);
  const seq = await side.sandbox.lastSeq();
  await c.run(side, people);
  await side.sandbox.clearFaults();
  const requests = await side.sandbox.changes(side.platform, seq);
  const held = await whom(side, people);
  return { said: side.said.join(" — then: "), held, requests: requests.length, waited: longestWait(requests), right: held === c.target };
}

// whom says which of the people the platform holds, by their last letters. ~ before a letter: by an e-mail he had before;
// ?: somebody else.
async function whom(side, people) {
  const names = new Map();
  for (const p of people) {
    names.set(sha256(p.email), p.id.at(-1));
    names.set(sha256(`old.${p.email}`), `~${p.id.at(-1)}`);
    names.set(sha256(`old${p.email}`), `~${p.id.at(-1)}`); // TikTok's legacy form has no dots
  }
  names.set(sha256(phone), "c").set(sha256(phone.slice(1)), "c");
  const rows = side.id ? await side.sandbox.values(side.platform, side.id).catch(() => []) : [];
  return rows.map((values) => values.map((v) => names.get(v)).find(Boolean) ?? "?").sort().join("");
}

// longestWait is the longest pause between two requests, in minutes, if it is worth a word.
function longestWait(requests) {
  const times = requests.map((r) => Date.parse(r.time));
  const longest = Math.max(0, ...times.slice(1).map((t, i) => t - times[i])) / 1000;
  return longest >= 30 ? `${Math.round(longest / 60)} min` : "";
}

function cell(r) {
  const parts = [r.said, `**holds ${r.held || "nobody"}**`, `${r.requests} request${r.requests === 1 ? "" : "s"}`];
  if (r.waited) parts.push(`waited ${r.waited}`);
  return `${r.right ? "" : "✗ "}${parts.join(" · ")}`;
}

// headings of the compared, and how to make one.
const compared = {
  meta: [["Segment `sync`", (w, key) => new SegmentSide(w.sandbox, "meta", key)],
    ["Kohorta", (w, key) => new KohortaSide(w.sandbox, w.kohorta, "meta", key)]],
  tiktok: [["Segment `addToAudience`, `removeFromAudience`", (w, key) => new SegmentSide(w.sandbox, "tiktok", key)],
    ["Segment `syncAudience` [Beta]", (w, key) => new SegmentSide(w.sandbox, "tiktok-beta", key)],
    ["Kohorta", (w, key) => new KohortaSide(w.sandbox, w.kohorta, "tiktok", key)]],
};

const row = (...cells) => `| ${cells.join(" | ")} |`;
const head = (...cells) => [row(...cells), row(...cells.map(() => "---"))];
const words = (text, platform) => (typeof text === "string" ? text : text[platform]);

async function caseTable(world, platform, wanted) {
  const sides = compared[platform];
  const lines = head("what happens", "the platform", "should hold", ...sides.map(([name]) => name));
  for (const [i, c] of cases.entries()) {
    if ((c.only && !c.only.includes(platform)) || !wanted(c.name)) continue;
    const cells = [];
    for (const [j, [, make]] of sides.entries()) {
      console.error(`${platform}, ${c.name}: ${sides[j][0].replaceAll("`", "")}`);
      cells.push(cell(await run(make(world, `c${i}${"sxk"[j]}-${platform}`), c)));
    }
    lines.push(row(c.name, words(c.answers, platform), c.target || "nobody", ...cells));
  }
  return lines;
}

// creationTable asks for an audience whose first creation was done but not answered, and asks once more if told to.
async function creationTable(world) {
  const lines = head("platform", "the platform", "Segment", "Kohorta");
  for (const platform of platforms) {
    console.error(`${platform}, ${creating.name}`);
    const cells = [];
    for (const [j, [, make]] of [compared[platform][0], compared[platform].at(-1)].entries()) {
      const side = make(world, `created${j}-${platform}`);
      const before = (await world.sandbox.audiences(platform)).length;
      await side.inject("reset_after", { on: "create", count: 1 });
      let said;
      if (side.segment) {
        const asked = [];
        for (let i = 0; i < 2; i++) asked.push(await side.create().then(() => "made", (err) => `throws: ${scrub(err.message)}`));
        said = asked.join("; asked again: ");
      } else {
        await side.create();
        await side.change(five(side.key), []);
        said = side.said.join("; ");
      }
      await world.sandbox.clearFaults();
      const made = (await world.sandbox.audiences(platform)).length - before;
      cells.push(`${made === 1 ? "" : "✗ "}${said} · **${made} audience${made === 1 ? "" : "s"}**`);
    }
    lines.push(row(platform, creating.answers, ...cells));
  }
  return lines;
}

// valueTable sends each value alone and looks at what the platform was given to match by.
async function valueTable(world, platform) {
  const sides = compared[platform];
  const lines = head("field", "value", "normal form", ...sides.map(([name]) => name));
  for (const [i, v] of values.entries()) {
    if (!v.hash && v[platform] === undefined) continue;
    console.error(`${platform}, ${v.show ?? v.raw.trim()}`);
    const form = v.hash ? undefined : v[platform];
    const inClear = platform === "meta" && v.metaInClear;
    const wanted = v.hash ?? (form && (inClear ? form : sha256(form)));
    const cells = [];
    for (const [j, [, make]] of sides.entries()) {
      const side = make(world, `v${i}${"sxk"[j]}-${platform}`);
      await side.create();
      await side.change([{ id: `${side.key}-p`, email: companion, [v.field]: v.raw, country: v.country, hashed: v.marked }], []);
      cells.push(await match(side, wanted, v));
    }
    lines.push(row(v.field, v.show ?? code(v.raw), v.hash ? "that hash in lower case" : form ? code(form) : "none", ...cells));
  }
  return lines;
}

// match says whether the platform holds what the normal form of a value becomes.
async function match(side, wanted, v) {
  const all = side.id ? (await side.sandbox.values(side.platform, side.id)).flat() : [];
  const along = [v.field === "email" ? "" : sha256(companion), v.country ? sha256(v.country.toLowerCase()) : ""];
  const held = all.filter((h) => !along.includes(h));
  const said = side.said.join("; ");
  if (v.field !== "email" && !all.includes(sha256(companion))) return `✗ person not held: ${said}`;
  if (held.length === 0) return wanted ? "✗ not held" : "not held";
  if (!wanted) return "✗ held";
  if (held.includes(wanted)) return "as it should be";
  const other = Object.entries(v.others ?? {}).find(([, form]) => held.includes(sha256(form)));
  return other ? `as published, ${other[0]}` : "✗ of another form";
}

const code = (text) => `\`${text.replace(/\t/g, "\\t").replace(/\r/g, "\\r").replace(/\n/g, "\\n")}\``;

// versionRow sends as the package is published, without its API version changed.
async function versionLine(world) {
  const side = new SegmentSide(world.sandbox, "meta", "version-meta");
  await side.create();
  side.segment.keepVersion(true);
  await side.change(five(side.key), []);
  side.segment.keepVersion(false);
  return `As published it asks for \`${require("@segment/action-destinations/dist/destinations/facebook-custom-audiences/versioning-info").FACEBOOK_CUSTOM_AUDIENCES_API_VERSION}\`, and hears: ${side.said.join("; ")}.`;
}

async function tables(world, wanted) {
  const parts = [`Run with \`@segment/action-destinations\` ${version} and \`@segment/actions-core\` ${
    require(path.join(__dirname, "node_modules/@segment/actions-core/package.json")).version}.`, ""];
  const titles = { meta: "Meta", tiktok: "TikTok" };
  for (const platform of platforms) parts.push(`### ${titles[platform]}: what is told, and what is true`, "", ...(await caseTable(world, platform, wanted)), "");
  if (wanted(creating.name)) parts.push(`### ${creating.name}`, "", ...(await creationTable(world)), "");
  if (wanted("values")) for (const platform of platforms) parts.push(`### ${titles[platform]}: what values become`, "", ...(await valueTable(world, platform)), "");
  if (wanted("version")) parts.push("### The API's version", "", await versionLine(world), "");
  return parts.join("\n");
}

async function main() {
  const arg = process.argv[2];
  const check = arg === "--check";
  const only = check ? undefined : arg;
  const world = { sandbox: await Sandbox.start(binary) };
  try {
    world.kohorta = await Kohorta.start(binary, world.sandbox.url);
    const text = await tables(world, (name) => !only || name.includes(only));
    if (only) return console.log(text);
    const [start, end] = ["<!-- run -->", "<!-- end of run -->"];
    const before = fs.readFileSync(page, "utf8");
    const after = before.slice(0, before.indexOf(start) + start.length) + `\n\n${text}\n` + before.slice(before.indexOf(end));
    if (check && before !== after) throw new Error("docs/peers.md does not say what happened just now: run `make peers` and look at the difference");
    if (!check) fs.writeFileSync(page, after);
  } finally {
    await world.kohorta?.stop();
    world.sandbox.stop();
  }
}

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1)); // and the children with it
main().then(() => process.exit(0), (err) => {
  console.error(err);
  process.exit(1);
});
