/** A client of the admin door: `curl` in miniature, over TCP or a UNIX socket. */
import assert from "node:assert/strict";
import { type IncomingHttpHeaders, request } from "node:http";
import { connect, type Socket } from "node:net";
import type { SocketAddress } from "../../lib/wire/address.ts";
import type { Stage } from "./scene.ts";

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Asks once on a connection of its own. */
export function get(stage: Stage, path: string, method = "GET"): Promise<Answered> {
  return askAt(doorOf(stage), path, method);
}

export function doorOf(stage: Stage): SocketAddress {
  const { adminAddress } = stage.proxy;
  assert(adminAddress !== null, "the proxy has an admin door");
  return adminAddress;
}

export function askAt(address: SocketAddress, path: string, method = "GET"): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const asked = request({ ...placeOf(address), path, method, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        body += chunk;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
      );
    });
    asked.on("error", reject);
    asked.end();
  });
}

/** A bare connection to the door, for clients that do not behave. */
export function knockAt(address: SocketAddress): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = address.kind === "unix" ? connect(address.path) : connect(address.port, address.host);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}

function placeOf(address: SocketAddress): { socketPath: string } | { host: string; port: number } {
  return address.kind === "unix" ? { socketPath: address.path } : { host: address.host, port: address.port };
}
