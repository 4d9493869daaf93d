"use strict";
// What is compared: situations that both platforms' contracts know, and values that have to be normalised.

const crypto = require("node:crypto");

const sha256 = (text) => crypto.createHash("sha256").update(text).digest("hex");

// five people, a to e, of whom every form of an e-mail gives the same hash.
const five = (of) => ["a", "b", "c", "d", "e"].map((id) => ({ id: `${of}-${id}`, email: `${id}${of}@example.com` }));

// phone of the one who has no e-mail, in the form both sheets ask for, but for the + that Meta does without.
const phone = "+48601100200";

const hashes = (people, ids) => people.filter((p) => ids.includes(p.id.at(-1))).map((p) => sha256(p.email));

// A case has a name, what the platform answers, whom the audience should hold in the end, and what happens. In run, side
// is one of the compared: side.change(entering, leaving) lets people in and out, side.inject orders the platform to fail,
// side.later lets everything happen that the side does by itself.
// only names the platforms it is about; people are those of five.
const cases = [
  { name: "five people", answers: "takes all", target: "abcde",
    run: (side, people) => side.change(people, []) },

  { name: "three of five rows refused", answers: "HTTP 200, `num_invalid_entries` 3, the rows in `invalid_entry_samples`", only: ["meta"], target: "ab",
    run: async (side, people) => {
      await side.inject("reject_values", { values: hashes(people, "cde") });
      await side.change(people, []);
    } },

  { name: "one of five rows refused", answers: "HTTP 200, code 40002 for the whole request", only: ["tiktok"], target: "abde",
    run: async (side, people) => {
      await side.inject("reject_values", { values: hashes(people, "c") });
      await side.change(people, []);
    } },

  { name: "accepted in part", answers: "HTTP 200, code 20001, two rows not done; then all is taken", only: ["tiktok"], target: "abcde",
    run: async (side, people) => {
      await side.inject("reject_half", { count: 1 });
      await side.change(people, []);
    } },

  { name: "one phone without a digit among five", answers: "takes what it is sent", target: "abcde",
    run: (side, people) => side.change(people.map((p) => ({ ...p, phone: p.id.endsWith("c") ? "unknown" : undefined })), []) },

  { name: "token revoked; half a minute later it is accepted again", target: "abcde",
    answers: { meta: "HTTP 400, 190/467; then takes all", tiktok: "HTTP 200, code 40105; then takes all" },
    run: async (side, people) => {
      await side.inject("token_revoked", { path: "" });
      await side.change(people, []);
      await new Promise((wake) => setTimeout(wake, 30_000));
      await side.sandbox.clearFaults();
      await side.later();
    } },

  { name: "over quota", answers: { meta: "HTTP 400, 80003/2446079, one minute to wait", tiktok: "HTTP 200, code 40100, twice" }, target: "abcde",
    run: async (side, people) => {
      await side.inject("rate_limited", side.platform === "meta" ? { wait: "1m" } : { count: 2 });
      await side.change(people, []);
    } },

  { name: "connection lost, request not done", answers: "reset, once", target: "abcde",
    run: async (side, people) => {
      await side.inject("reset_before", { count: 1 });
      await side.change(people, []);
    } },

  { name: "connection lost, request done", answers: "reset, once", target: "abcde",
    run: async (side, people) => {
      await side.inject("reset_after", { count: 1 });
      await side.change(people, []);
    } },

  { name: "half an answer", answers: "half of its JSON, once; the request was done", target: "abcde",
    run: async (side, people) => {
      await side.inject("truncated_json", { count: 1 });
      await side.change(people, []);
    } },

  { name: "a proxy's page", answers: "HTTP 502 with HTML, once", target: "abcde",
    run: async (side, people) => {
      await side.inject("http_502_html", { count: 1 });
      await side.change(people, []);
    } },

  { name: "not served", answers: "HTTP 200 with the text `Service Unavailable`, once", target: "abcde",
    run: async (side, people) => {
      await side.inject("plain_text_200", { count: 1 });
      await side.change(people, []);
    } },

  { name: "audience deleted on the platform", answers: { meta: "HTTP 400, 1487366", tiktok: "HTTP 200, an error code" }, target: "",
    run: async (side, people) => {
      await side.change(people.slice(0, 1), []);
      await side.vanish();
      await side.change(people.slice(1), []);
    } },

  { name: "a member's e-mail changes", answers: "takes all", target: "abcde",
    run: async (side, people) => {
      await side.change(people.map((p) => (p.id.endsWith("c") ? { ...p, email: `old.${p.email}` } : p)), []);
      await side.change(people.slice(2, 3), []);
    } },

  { name: "leaves with another e-mail than he came with", answers: "takes all", target: "abde",
    run: async (side, people) => {
      await side.change(people.map((p) => (p.id.endsWith("c") ? { ...p, email: `old.${p.email}` } : p)), []);
      await side.change([], people.slice(2, 3));
    } },

  { name: "one of five has not consented", answers: "takes what it is sent", target: "abde",
    run: (side, people) => side.change(people.map((p) => ({ ...p, consent: !p.id.endsWith("c") })), []) },

  { name: "one of five has neither e-mail nor phone", answers: "takes what it is sent", target: "abde",
    run: (side, people) => side.change(people.map((p) => (p.id.endsWith("c") ? { ...p, email: undefined } : p)), []) },

  { name: "one of five has a phone and no e-mail", answers: "takes all", target: "abcde",
    run: (side, people) => side.change(people.map((p) => (p.id.endsWith("c") ? { ...p, email: undefined, phone } : p)), []) },

  { name: "nobody to send", answers: "is not asked to change anything", target: "",
    run: (side) => side.change([], []) },
];

// creating is about an audience that is created twice, because the answer to the first request was lost.
const creating = { name: "creation, answer lost, asked again", answers: "reset, once; the audience was made" };

// A value has its normal form on each platform, as the contract sheets give it: null means that there is none and nothing
// may be sent, undefined that the platform does not match by the field. others are forms that the platform has published
// at other times. A value that is no e-mail is sent together with companion.
const companion = "v@example.com";

const values = [
  { field: "email", raw: " \tJohn_Smith@Gmail.com\r\n", meta: "john_smith@gmail.com", tiktok: "john_smith@gmail.com" },
  { field: "email", raw: "Priya.Natarajan+spring@Example.ORG", meta: "priya.natarajan+spring@example.org",
    tiktok: "priya.natarajan+spring@example.org", others: { "strip_plus form": "priya.natarajan@example.org", "legacy form": "priyanatarajan@example.org" } },
  { field: "email", raw: "O.Brien@Mail.Example.co.uk", meta: "o.brien@mail.example.co.uk", tiktok: "o.brien@mail.example.co.uk",
    others: { "legacy form": "obrien@mail.example.co.uk" } },
  { field: "email", raw: "Kim Lee@example.com", meta: null, tiktok: "kimlee@example.com" },
  { field: "email", raw: "no-at-sign.example", meta: null, tiktok: null },
  { field: "email", raw: sha256("mary@example.com").toUpperCase(), hash: sha256("mary@example.com"), marked: true, show: "SHA-256 of an e-mail in capitals, marked as hashed where one can" },
  { field: "email", raw: sha256("mary@example.com"), hash: sha256("mary@example.com"), show: "the same in lower case, not marked" },
  { field: "phone", raw: "+1-555-123-4567", meta: "15551234567", tiktok: "+15551234567" },
  { field: "phone", raw: "(650)555-1212", country: "US", meta: "16505551212", tiktok: "+16505551212" },
  { field: "phone", raw: "0049 30 901820", meta: "4930901820", tiktok: "+4930901820" },
  { field: "phone", raw: "+44 (0)20 7946 0958", meta: "442079460958", tiktok: "+442079460958" },
  { field: "phone", raw: "601 100 200", country: "PL", meta: "48601100200", tiktok: "+48601100200" },
  { field: "phone", raw: "+４８ ６０１ １００ ２００", meta: "48601100200", tiktok: "+48601100200" },
  { field: "phone", raw: "0000", meta: null, tiktok: null },
  { field: "idfa", raw: "6D92078A-8246-4BA4-AE5B-76104861E7DC", meta: "6d92078a-8246-4ba4-ae5b-76104861e7dc", metaInClear: true,
    tiktok: "6d92078a-8246-4ba4-ae5b-76104861e7dc" },
  { field: "idfa", raw: "00000000-0000-0000-0000-000000000000", meta: null, tiktok: null },
  { field: "first name", raw: "Valéry", meta: "valéry" },
  { field: "last name", raw: "O'Brien", meta: "obrien" },
  { field: "city", raw: "Kraków", meta: "krakw" },
  { field: "zip", raw: "M1 1AE", country: "GB", meta: "m11ae" },
];

module.exports = { cases, creating, values, companion, five, phone, sha256 };
