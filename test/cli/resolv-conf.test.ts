/**
 * Ensures that a running proxy asks the name servers of /etc/resolv.conf as it is, and hears of its changes, replaced as
 * systemd-resolved and dhclient do it, or written in place. In namespaces of its own, where 53 is free and /etc a folder of the test.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { needs } from "../gear/nameservers.ts";
import { millrace } from "../gear/root.ts";
import { configured, folder, Running } from "../gear/running.ts";

const NAME = "_db._tcp.example.test";
/** A name server with one service, whose target is 127.0.0.`octet`. */
const nameserver = (host: string, octet: number): string =>
  `dnsmasq --no-daemon --conf-file=/dev/null --user=root --listen-address=${host} --bind-interfaces --no-resolv --no-hosts ` +
  `--pid-file= --local=/example.test/ --local-ttl=1 --srv-host=${NAME},db.example.test,80 ` +
  `--host-record=db.example.test,127.0.0.${octet} 2>/dev/null &`;

const needed = needs("unshare", "mount", "ip", "dnsmasq");
const skip = process.getuid?.() === 0 ? needed.skip : "only root may have namespaces of its own";

function startInside(t: TestContext, etc: string, file: string): Running {
  const script = [
    "ip link set lo up",
    `mount --bind ${etc} /etc`,
    nameserver("127.0.0.1", 9),
    nameserver("127.0.0.2", 10),
    `exec ${process.execPath} ${millrace} run -c ${file}`,
  ].join("\n");
  // The proxy is the first process of its namespace: with it all others end.
  const inside = ["--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-e", "-c", script];
  const running = new Running(spawn("unshare", inside, { stdio: ["ignore", "pipe", "pipe"] }));
  t.after(async () => {
    running.child.kill("SIGKILL");
    await running.exited;
  });
  return running;
}

test("name servers come and go with resolv.conf", { skip, timeout: 60_000 }, async (t) => {
  const etc = folder(t);
  for (const name of ["passwd", "group"]) copyFileSync(join("/etc", name), join(etc, name));
  const conf = join(etc, "resolv.conf");
  const options = "options timeout:1 attempts:1\n";
  writeFileSync(conf, `nameserver 127.0.0.3\n${options}`);
  const { file } = configured(t, {
    transport: "net",
    listeners: [{ name: "in", address: "127.0.0.1:0", routes: [{ tls: "none", cluster: "out" }] }],
    clusters: { out: { discover: { srv: NAME } } },
  });
  const running = startInside(t, etc, file);
  const says = (what: RegExp) => running.line(({ msg }) => what.test(msg));
  assert.match((await says(/asking again/)).msg, /127\.0\.0\.3:53: no answer in 1000 ms/);

  writeFileSync(`${conf}.new`, `nameserver 127.0.0.1\n${options}`);
  renameSync(`${conf}.new`, conf);
  await says(/added 127\.0\.0\.9:80; now 1/);

  writeFileSync(conf, `nameserver 127.0.0.2\n${options}`);
  await says(/added 127\.0\.0\.10:80; now 2/);
  await says(/removed 127\.0\.0\.9:80; now 1/);
});
