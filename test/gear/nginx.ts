/** nginx as a TLS upstream that asks for a certificate and writes down what it saw of every request. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { authority, leaf } from "./certificates.ts";
import { type RunningProgram, startProgram } from "./programs.ts";
import type { Scene } from "./scene.ts";

export interface Nginx extends RunningProgram {
  readonly address: string;
  /** One line per request: version, `r` for a resumed session or `.`, who asked, for which name, status. */
  log(): string[];
}

export interface NginxOptions {
  readonly versions: readonly ("TLSv1.2" | "TLSv1.3")[];
  /** What `/file` is. */
  readonly file: Buffer;
  /** In front of everything, `proxy_protocol` for one. */
  readonly listen?: string;
}

export async function nginx(scene: Scene, options: NginxOptions): Promise<Nginx> {
  const server = await leaf("server");
  const ca = (await authority()).cert;
  const running = await startProgram(scene, "nginx", /event method/, (folder, port) => {
    const path = (name: string) => join(folder, name);
    mkdirSync(path("html"));
    writeFileSync(path("html/file"), options.file);
    for (const [name, text] of Object.entries({ crt: server.cert, key: server.key, ca })) {
      writeFileSync(path(name), text);
    }
    writeFileSync(path("conf"), configuration(folder, port, options));
    return ["-c", path("conf"), "-p", folder, "-e", "stderr"];
  });
  const log = (): string[] => readFileSync(join(running.folder, "access"), "utf8").split("\n").slice(0, -1);
  return { ...running, address: `127.0.0.1:${running.port}`, log };
}

function configuration(folder: string, port: number, { versions, listen = "" }: NginxOptions): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${folder}/${kind};`)
    .join(" ");
  return `
daemon off; master_process off; pid ${folder}/pid; error_log stderr notice;
${process.getuid?.() === 0 ? "user root;" : ""}
events { worker_connections 64; }
http {
  ${temporary}
  log_format seen '$ssl_protocol $ssl_session_reused $ssl_client_s_dn $ssl_server_name $status';
  access_log ${folder}/access seen;
  server {
    listen 127.0.0.1:${port} ssl ${listen};
    ssl_protocols ${versions.join(" ")};
    ssl_certificate ${folder}/crt; ssl_certificate_key ${folder}/key;
    ssl_client_certificate ${folder}/ca; ssl_verify_client on;
    ssl_session_cache off; ssl_session_tickets on;
    root ${folder}/html;
  }
}
`;
}
