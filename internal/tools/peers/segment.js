"use strict";
// Segment's published destinations, driven as its own runtime drives them: a Destination of @segment/actions-core takes a
// batch of events by a subscription with the default mapping. Their fetch is replaced by one that carries each request,
// as it is, to the stand-ins.

const crossFetch = require("cross-fetch");
const { meta, tiktok } = require("./sandbox");

let carryTo; // URL of the stand-ins
let published; // leave the API version as the package has it

// The stand-in of Meta wants a proof of the token, and serves no version that has ended: both are added here, so that the
// answers are about what the package sends.
async function fakeFetch(request) {
  const url = new URL(request.url);
  const target = new URL(url.pathname + url.search, carryTo);
  if (url.hostname === "graph.facebook.com") {
    if (!published) target.pathname = target.pathname.replace(/^\/v[\d.]+/, "/v26.0");
    target.searchParams.set("appsecret_proof", meta.proof);
  }
  const body = request.method === "GET" ? undefined : await request.text();
  return crossFetch(target.toString(), { method: request.method, headers: request.headers, body });
}
require.cache[require.resolve("cross-fetch")].exports = Object.assign(fakeFetch, crossFetch, { default: fakeFetch, fetch: fakeFetch });

const { Destination } = require("@segment/actions-core");
const definitions = "@segment/action-destinations/dist/destinations/";
const packageJSON = require("@segment/action-destinations/package.json");

const targets = {
  meta: { definition: "facebook-custom-audiences", enter: "sync", leave: "sync", access: meta },
  tiktok: { definition: "tiktok-audiences", enter: "addToAudience", leave: "removeFromAudience", access: tiktok },
  "tiktok-beta": { definition: "tiktok-audiences", enter: "syncAudience", leave: "syncAudience", access: tiktok },
};

class Segment {
  // of is "meta", "tiktok" or "tiktok-beta".
  constructor(of, url) {
    carryTo = url;
    const target = targets[of];
    this.platform = of.split("-")[0];
    this.actions = { true: target.enter, false: target.leave };
    this.definition = require(definitions + target.definition).default;
    this.destination = new Destination(this.definition);
    this.access = target.access;
    this.audienceSettings = { advertiserId: tiktok.account };
    this.settings = { oauth: { access_token: this.access.token, refresh_token: "none" }, retlAdAccountId: meta.account };
  }

  keepVersion(keep) {
    published = keep;
  }

  async create(name) {
    const made = await this.destination.createAudience({ audienceName: name, settings: this.settings,
      audienceSettings: this.platform === "tiktok" ? this.audienceSettings : {} });
    return made.externalId;
  }

  // change tells that people have entered the audience or left it. It gives what the package says of each, or throws what
  // the package throws.
  async change(audience, entering, leaving) {
    const said = [];
    for (const [member, people] of [[false, leaving], [true, entering]]) {
      if (people.length > 0) said.push(...(await this.send(audience, people, member)));
    }
    return said;
  }

  async send(audience, people, member) {
    const slug = this.actions[member];
    const mapping = Object.fromEntries(Object.entries(this.definition.actions[slug].fields).map(([name, field]) => [name, field.default])
      .filter(([, value]) => value !== undefined));
    if (this.platform === "meta") mapping.mobileAdId = { "@path": "$.context.device.advertisingId" };
    const events = people.map((p) => this.event(audience, p, member));
    const [result] = await this.destination.onBatch(events, { ...this.settings,
      subscription: { subscribe: 'type = "track"', partnerAction: slug, mapping } });
    return result?.multistatus ?? [];
  }

  event(audience, person, member) {
    const traits = { email: person.email, phone: person.phone, country: person.country, city: person.city, postal_code: person.zip,
      first_name: person["first name"], last_name: person["last name"] };
    return {
      type: "track", userId: person.id, event: member ? "Audience Entered" : "Audience Exited",
      properties: { ...traits, audience_key: audience, in_audience: member },
      context: {
        traits, device: { advertisingId: person.idfa },
        consent: { categoryPreferences: { advertising: person.consent !== false } },
        personas: { computation_class: "audience", computation_key: "in_audience", external_audience_id: audience,
          audience_settings: this.audienceSettings },
      },
    };
  }
}

module.exports = { Segment, version: packageJSON.version };
