"use strict";
// Kohorta as it ships: `kohorta serve` with its own ClickHouse and Redis, asked over gRPC.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const { runUntil, meta, tiktok } = require("./sandbox");

const root = path.join(__dirname, "../../..");
const services = ["Ingest", "Segment", "Audience", "Run"];
// What Segment's action sends to Meta without being told to; Kohorta sends the first three.
const columns = ["EMAIL", "PHONE", "MADID", "FN", "LN", "CT", "ZIP", "COUNTRY"];

class Kohorta {
  static async start(binary, platformsURL) {
    const kohorta = new Kohorta();
    kohorta.dir = fs.mkdtempSync(path.join(os.tmpdir(), "kohorta-peers-"));
    const secrets = { "meta-token": meta.token, "meta-app-secret": meta.appSecret, "tiktok-token": tiktok.token };
    for (const [name, secret] of Object.entries(secrets)) fs.writeFileSync(path.join(kohorta.dir, name), secret, { mode: 0o600 });
    const config = path.join(kohorta.dir, "kohorta.yaml");
    fs.writeFileSync(config, `listen: 127.0.0.1:0\ndata_dir: ${kohorta.dir}/data\nsecrets_dir: ${kohorta.dir}\nengines: {no_sync: true}\n`);
    const started = await runUntil(/msg=serving address=(\S+)/, binary, ["serve", "--config", config], { cwd: root });
    kohorta.child = started.child;
    kohorta.connect(started.match[1]);
    for (const [id, access] of Object.entries({ meta, tiktok })) {
      await kohorta.call("Audience", "CreateDestination", { destinationId: id, destination: { platform: `PLATFORM_${id.toUpperCase()}`,
        account: access.account, tokenSecret: `${id}-token`, appSecret: access.appSecret && `${id}-app-secret`, baseUrl: platformsURL, columns: id === "meta" ? columns : [] } });
    }
    return kohorta;
  }

  connect(address) {
    const files = services.map((s) => `audience/v1/${s.toLowerCase()}_service.proto`);
    const definition = loader.loadSync(files, { includeDirs: [path.join(root, "proto")], enums: String, longs: Number, defaults: true });
    const { v1 } = grpc.loadPackageDefinition(definition).audience;
    this.clients = Object.fromEntries(services.map((s) => [s, new v1[`${s}Service`](address, grpc.credentials.createInsecure())]));
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.on("exit", resolve));
    this.child.kill();
    await ended;
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  // call asks again while the service says that it will answer later.
  async call(service, method, request) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await new Promise((resolve, reject) => {
          this.clients[service][method](request, (err, answer) => (err ? reject(err) : resolve(answer)));
        });
      } catch (err) {
        if (err.code !== grpc.status.UNAVAILABLE || attempt === 10) throw new Error(`${method}: ${err.details}`);
        await new Promise((wake) => setTimeout(wake, 1000));
      }
    }
  }

  async watch(run) {
    const stream = this.clients.Run.WatchRun({ name: run.name });
    for await (const said of stream) run = said.run;
    return run;
  }

  // create makes an audience of the people whose attribute names it. It reaches the platform with the first sync.
  async create(id, platform) {
    await this.call("Segment", "CreateSegment", { segmentId: id, segment: { expression: `attr["audience"] == "${id}"` } });
    await this.call("Audience", "CreateAudience", { audienceId: id, audience: { segment: `segments/${id}`,
      destination: `destinations/${platform}`, maxRemovalShare: 1 } });
  }

  // change lets people enter the audience or leave it. Leaving says nothing of identifiers: who has new ones enters with
  // them. It gives why identifiers were left out.
  async change(id, entering, leaving) {
    const profiles = [...entering.map((p) => this.profile(p, id)), ...leaving.map((p) => this.profile(p, "none"))];
    const dropped = new Set();
    if (profiles.length > 0) {
      const { results } = await this.call("Ingest", "UpsertProfiles", { profiles });
      for (const r of results) {
        if (r.status !== "STATUS_ACCEPTED") throw new Error(r.violations.map((v) => `${v.field} ${v.description}`).join("; "));
        for (const d of r.droppedIdentifiers) dropped.add(d.description);
      }
    }
    const { run } = await this.call("Segment", "EvaluateSegments", {});
    await this.watch(run);
    return [...dropped];
  }

  profile(person, audience) {
    const facts = [["FIELD_EMAIL", person.email], ["FIELD_PHONE", person.phone], ["FIELD_IDFA", person.idfa], ["FIELD_COUNTRY", person.country],
      ["FIELD_FIRST_NAME", person["first name"]], ["FIELD_LAST_NAME", person["last name"]], ["FIELD_CITY", person.city], ["FIELD_ZIP", person.zip]];
    return {
      userId: person.id, attributes: { audience: { text: audience } },
      identifiers: { identifiers: facts.filter(([, value]) => value).map(([field, value]) => ({ field, value, hashed: person.hashed === true && field === "FIELD_EMAIL" })) },
      consents: [{ purpose: "advertising", granted: person.consent !== false }],
    };
  }

  // sync runs to its end.
  async sync(id) {
    const { run } = await this.call("Audience", "StartSync", { name: `audiences/${id}` });
    return this.watch(run);
  }

  // resumed is the run in which the service brought a failed sync to its end by itself.
  async resumed(id) {
    for (let second = 0; second < 300; second++) {
      const { runs } = await this.call("Run", "ListRuns", { subject: `audiences/${id}`, state: "STATE_SUCCEEDED" });
      if (runs.length > 0 && runs[0].resumes) return runs[0];
      await new Promise((wake) => setTimeout(wake, 1000));
    }
    throw new Error(`the sync of ${id} was not resumed within five minutes`);
  }

  async platformID(id) {
    const { audience } = await this.call("Audience", "GetAudience", { name: `audiences/${id}` });
    return audience.platformId;
  }
}

module.exports = { Kohorta };
