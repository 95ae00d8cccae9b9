/** Ensures that the table of layouts and numbers says what this machine's C compiler says. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import * as layouts from "../../lib/ffi/layout.ts";

const noCompiler = spawnSync("cc", ["--version"]).status !== 0 && "no C compiler (cc) here";
const skip = layouts.layout === null ? "not a machine of the epoll transport" : noCompiler;

const PROGRAM = `
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#define SAY(name) printf("%s %lld\\n", #name, (long long)(int)(name))
#define AT(label, type, field) printf("%s %zu\\n", label, offsetof(struct type, field))
#define SIZE(type) printf("%s.size %zu\\n", #type, sizeof(struct type))
int main(void) {
  SIZE(epoll_event); AT("epoll_event.data", epoll_event, data);
  SIZE(sockaddr_in); AT("sockaddr_in.port", sockaddr_in, sin_port); AT("sockaddr_in.address", sockaddr_in, sin_addr);
  SIZE(sockaddr_in6); AT("sockaddr_in6.port", sockaddr_in6, sin6_port); AT("sockaddr_in6.flow", sockaddr_in6, sin6_flowinfo);
  AT("sockaddr_in6.address", sockaddr_in6, sin6_addr); AT("sockaddr_in6.scope", sockaddr_in6, sin6_scope_id);
  SIZE(sockaddr_un); AT("sockaddr_un.path", sockaddr_un, sun_path);
NAMES
}`;

function compile(): Map<string, number> {
  const folder = mkdtempSync(join(tmpdir(), "millrace-layout-"));
  try {
    const names = Object.entries(layouts).filter(([, value]) => typeof value === "number");
    const lines = names.map(([name]) => `  SAY(${name});`).join("\n");
    writeFileSync(join(folder, "layout.c"), PROGRAM.replace("NAMES", lines));
    execFileSync("cc", ["-o", join(folder, "layout"), join(folder, "layout.c")]);
    const text = execFileSync(join(folder, "layout")).toString();
    const pairs = text.trim().split("\n");
    return new Map(pairs.map((line) => [line.split(" ")[0]!, Number(line.split(" ")[1])]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it("matches the headers of this machine", { skip }, () => {
  const said = compile();
  const table: Record<string, number> = {
    "epoll_event.size": layouts.layout!.epollEvent,
    "epoll_event.data": layouts.layout!.epollData,
    "sockaddr_in.size": layouts.SOCKADDR_IN.size,
    "sockaddr_in.port": layouts.SOCKADDR_IN.port,
    "sockaddr_in.address": layouts.SOCKADDR_IN.address,
    "sockaddr_in6.size": layouts.SOCKADDR_IN6.size,
    "sockaddr_in6.port": layouts.SOCKADDR_IN6.port,
    "sockaddr_in6.flow": layouts.SOCKADDR_IN6.flow,
    "sockaddr_in6.address": layouts.SOCKADDR_IN6.address,
    "sockaddr_in6.scope": layouts.SOCKADDR_IN6.scope,
    "sockaddr_un.size": layouts.SOCKADDR_UN.size,
    "sockaddr_un.path": layouts.SOCKADDR_UN.path,
  };
  for (const [name, value] of Object.entries(layouts)) if (typeof value === "number") table[name] = value;
  for (const [name, value] of Object.entries(table)) assert.equal(value, said.get(name), name);
  assert.equal(said.size, Object.keys(table).length);
});
