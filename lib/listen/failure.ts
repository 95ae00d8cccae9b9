/** Why an address cannot be listened on, in one set of words for both transports, and what to do. bind(2), listen(2), unix(7). */
import { ProxyError } from "../errors.ts";
import { formatAddress, type SocketAddress } from "../wire/address.ts";

/** `code`: errno by name. */
export function listenFailure(address: SocketAddress, code: string): ProxyError {
  return new ProxyError("LISTEN", `${formatAddress(address)} ${advice(address, code)}`);
}

function advice(address: SocketAddress, code: string): string {
  switch (code) {
    case "EADDRINUSE":
      return "is in use by another process; stop it or choose another port";
    case "EACCES":
    case "EPERM":
      return address.kind === "unix"
        ? "cannot be made: no write access to the directory; change its owner or choose another path"
        : "needs a privilege that this process lacks; grant CAP_NET_BIND_SERVICE (setcap or AmbientCapabilities=) or choose a port from 1024 on";
    case "EADDRNOTAVAIL":
      return "is not an address of this machine; see `ip address`";
    case "ENOENT":
      return "cannot be made: the directory does not exist; create it (RuntimeDirectory= does so under systemd)";
    default:
      return `cannot be listened on: ${code}`;
  }
}
