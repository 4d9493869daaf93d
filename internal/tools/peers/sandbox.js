"use strict";
// The stand-ins of both platforms, run as `kohorta sandbox`. Both sides of the comparison get their answers here.

const { spawn } = require("node:child_process");
const crypto = require("node:crypto");
const readline = require("node:readline");

const meta = { account: "1122334455", token: "EAASANDBOXDEMOTOKEN", appSecret: "5a4db0b05a4db0b05a4db0b05a4db0b0" };
meta.proof = crypto.createHmac("sha256", meta.appSecret).update(meta.token).digest("hex");
const tiktok = { account: "7000000000000000001", token: "tiktok-sandbox-demo-token" };

// change is the part of a path that requests changing members have, create that of creations.
const paths = {
  meta: { change: "/users", create: "/customaudiences" },
  tiktok: { change: "/segment/mapping/", create: "/segment/audience/" },
};

// runUntil starts a program and waits for a line that matches; it gives the match and the process.
function runUntil(pattern, file, args, options) {
  const child = spawn(file, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  process.on("exit", () => child.kill());
  return new Promise((resolve, reject) => {
    const said = [];
    for (const stream of [child.stdout, child.stderr]) {
      readline.createInterface(stream).on("line", (line) => {
        said.push(line);
        const match = pattern.exec(line);
        if (match) resolve({ child, match });
      });
    }
    child.on("exit", (code) => reject(new Error(`${file} ${args[0]} ended with ${code}:\n${said.join("\n")}`)));
  });
}

class Sandbox {
  constructor(child, url) {
    this.child = child;
    this.url = url;
  }

  static async start(binary) {
    const port = 20000 + crypto.randomInt(20000);
    const { child, match } = await runUntil(/on (http:\S+),/, binary, ["sandbox", "--no-quotas", "--listen", `127.0.0.1:${port}`]);
    const sandbox = new Sandbox(child, match[1]);
    for (let i = 0; i < 50; i++) {
      if (await sandbox.admin("clock").catch(() => null)) return sandbox;
      await new Promise((wake) => setTimeout(wake, 100));
    }
    throw new Error("the sandbox does not answer");
  }

  stop() {
    this.child.kill();
  }

  async admin(path, body, method = body ? "POST" : "GET") {
    const answer = await fetch(`${this.url}/admin/${path}`, { method, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`/admin/${path}: ${await answer.text()}`);
    return answer.json();
  }

  inject(platform, kind, fault) {
    return this.admin("faults", { platform, path: paths[platform][fault.on ?? "change"], kind, ...fault, on: undefined });
  }

  clearFaults() {
    return this.admin("faults", undefined, "DELETE");
  }

  // vanish deletes an audience as a person would in the platform's own manager.
  vanish(platform, id) {
    if (platform === "tiktok") return this.admin(`tiktok/audiences/${id}`, undefined, "DELETE");
    return this.admin(`meta/audiences/${id}`, { state: "deleted" });
  }

  // audiences are the ids of those not deleted.
  async audiences(platform) {
    const all = await this.admin(`${platform}/audiences`);
    return all.filter((a) => !a.deleted && a.state !== "deleted").map((a) => a.id);
  }

  // values are the hashes and device ids an audience holds, a list for each row or member.
  async values(platform, id) {
    const members = await this.admin(`${platform}/audiences/${id}/members`);
    return members.map((m) => (platform === "tiktok" ? [m.hash] : Object.values(m.keys ?? {})));
  }

  // changes are the requests since the seq-th that tried to change members.
  async changes(platform, seq) {
    const { requests } = await this.admin("requests");
    return requests.filter((r) => r.seq > seq && r.platform === platform && r.path.includes(paths[platform].change));
  }

  async lastSeq() {
    const { requests } = await this.admin("requests");
    return requests.at(-1)?.seq ?? 0;
  }
}

module.exports = { Sandbox, runUntil, meta, tiktok };
