/**
 * One TLS handshake on Node's sockets, to its verdict. Invariant: success is told only after the chain was verified and
 * `authorise` has let the peer in, in full and resumed handshakes alike; a failure leaves the connection open, so that the alert
 * can arrive before the close.
 *
 * node:tls verifies a peer when the handshake is over and has no call that sends an alert. In TLS 1.3 the alert is therefore
 * sealed here with the traffic secret; in TLS 1.2 nothing can be sealed, and a peer refused by us sees a close_notify only.
 * RFC 8446 sections 4.6.1 and 6.2; SSL_CTX_set_num_tickets(3).
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { asProxyError, ProxyError } from "../../errors.ts";
import { shownChain, shownLeaf } from "../../tls/shown.ts";
import { missingCertificate, verifyFailure } from "../../tls/verify.ts";
import { ALERT, alertName, sealAlert13 } from "../../wire/alert.ts";
import { LINGER_BYTES } from "../patience.ts";
import { LINK_BYTES, LINK_LABEL, type Peer, type SecureOptions, type TlsFacts } from "../transport.ts";
import { firstFault } from "./first-fault.ts";
import type { KeptSession, NetTlsContext } from "./tls-context.ts";

/**
 * Told once. With an error, `facts` says what is known of a peer that shook hands and was refused; null where it did not come to
 * that. The socket is then still open: end it in order, and its alert arrives.
 */
export type Secured = (error: ProxyError | null, facts: TlsFacts | null) => void;

// A session with its peer's certificate has about 2 KiB; a cluster rarely has more endpoints than this.
const SESSIONS = 512;

/** What Node's own `tls.Server` and `tls.connect` use of a TLSSocket and its types do not show. */
export type Wrapped = TLSSocket & {
  /** From then on errors reach the socket's `error` event. */
  _releaseControl(): boolean;
  _emitTLSError(error: Error): void;
  /** Ends TLS on the descriptor, which goes back to the socket that was wrapped. */
  _destroySSL(): void;
  readonly ssl: { verifyError(): (Error & { code?: string }) | null | undefined } | null;
};

/**
 * One handshake, from the first byte to the verdict.
 *
 *     shaking ──secure──▶ verdict ──▶ told (success)
 *        │                   └──refused──▶ alert sealed ──▶ told (error)
 *        └──OpenSSL, reset, end──▶ told (error)
 */
export class Handshake {
  readonly #raw: Socket;
  readonly #wrapped: Wrapped;
  readonly #context: NetTlsContext;
  readonly #options: SecureOptions;
  readonly #kept: KeptSession | null;
  readonly #done: Secured;
  readonly #server: boolean;
  #secret: Buffer | null = null;
  /** Set where TLS on this socket is over. */
  #failure: ProxyError | null = null;
  /** The verdict stands; it is told in the next turn. */
  #over = false;
  /** Who was let in. */
  #accepted: Peer | null = null;

  constructor(
    raw: Socket,
    wrapped: Wrapped,
    context: NetTlsContext,
    options: SecureOptions,
    kept: KeptSession | null,
    done: Secured,
  ) {
    this.#raw = raw;
    this.#wrapped = wrapped;
    this.#context = context;
    this.#options = options;
    this.#kept = kept;
    this.#done = done;
    this.#server = context.spec.side === "server";
  }

  begin(): void {
    const wrapped = this.#wrapped;
    wrapped._releaseControl();
    // Errors that need no destroying: an alert behind the peer's last handshake message, a failing raw socket.
    wrapped._emitTLSError = (error) => this.#broken(error);
    wrapped.on(this.#server ? "secure" : "secureConnect", this.#stands);
    wrapped.on("end", this.#gone);
    if (!this.#server) wrapped.on("session", this.#keepSession);
    if (!this.#server || this.#context.spec.clientAuth !== "none") wrapped.on("keylog", this.#learn);
    // Node destroys a socket whose handshake fails at once, and unread input then turns the close into a reset that takes the
    // alert with it. Until the verdict, destroying means failing.
    wrapped.destroy = (error?: Error) => {
      if (this.#raw.destroyed || wrapped.writableEnded) this.#letGo().destroy(error);
      else this.#broken(error);
      return wrapped;
    };
  }

  /** Gives the socket its own ways back. */
  #letGo(): Wrapped {
    const wrapped = this.#wrapped;
    const own = wrapped as Partial<Pick<Wrapped, "destroy" | "_emitTLSError">>;
    delete own.destroy;
    delete own._emitTLSError;
    wrapped.off("secure", this.#stands);
    wrapped.off("secureConnect", this.#stands);
    wrapped.off("end", this.#gone);
    wrapped.off("keylog", this.#learn);
    return wrapped;
  }

  /** NSS key log format: label, client random, secret, in hex. */
  readonly #learn = (line: Buffer): void => {
    const [label, , secret] = line.toString("latin1").trim().split(" ");
    const wanted = this.#server ? "SERVER_TRAFFIC_SECRET_0" : "CLIENT_TRAFFIC_SECRET_0";
    if (label === wanted && secret !== undefined && !this.#over) this.#secret = Buffer.from(secret, "hex");
    line.fill(0);
  };

  readonly #keepSession = (session: Buffer): void => {
    if (this.#accepted === null) return;
    const { sessions } = this.#context;
    const key = this.#options.sessionKey;
    sessions.delete(key);
    if (sessions.size >= SESSIONS) sessions.delete(sessions.keys().next().value!);
    sessions.set(key, { session, peer: this.#accepted });
  };

  /** An end before the handshake stands; behind it, it is the peer's ordinary end. */
  readonly #gone = (): void => {
    if (!this.#over) this.#broken(undefined);
  };

  /** OpenSSL has failed, and has written its own alert where it could, or the peer is gone. */
  #broken(error: Error | undefined): void {
    if (this.#failure === null) this.#failure = this.#error(error);
    if (this.#over) return;
    this.#over = true;
    this.#contain(() => {
      const facts = this.#learned();
      setImmediate(() => this.#tell(this.#failure, facts));
    });
  }

  /** A fault of ours ends this connection and not the process: nobody catches what is thrown in an event of Node's. */
  #contain(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      this.#failure = asProxyError(thrown);
      setImmediate(() => this.#tell(this.#failure, null));
    }
  }

  /** What is known of a peer that has shown itself before the handshake failed. */
  #learned(): TlsFacts | null {
    if (this.#wrapped.ssl === null) return null;
    const peer = this.#peer();
    return peer === null ? null : this.#facts(peer);
  }

  readonly #stands = (): void => {
    if (this.#over) return;
    this.#over = true;
    this.#contain(() => this.#decide());
  };

  #decide(): void {
    const peer = this.#peer();
    const facts = this.#facts(peer);
    const refusal = this.#judge(peer);
    if (refusal === null) this.#accepted = peer;
    const written = bytesWritten(this.#raw);
    // In a turn of its own: OpenSSL is still inside its own call and can neither close nor be taken down, and its session tickets
    // are yet to be written.
    setImmediate(() => {
      if (this.#failure !== null || this.#raw.destroyed) {
        this.#tell(this.#failure ?? this.#error(undefined), facts);
      } else if (refusal !== null) {
        this.#refuse(refusal, facts, bytesWritten(this.#raw) > written);
      } else {
        this.#tell(null, facts);
      }
    });
  }

  /** What a failure inside the handshake means, with OpenSSL's reason and the number of the alert that was received. */
  #error(error: (Error & { code?: string; reason?: string }) | undefined): ProxyError {
    const { label } = this.#context.spec;
    const code = error?.code ?? "";
    if (error === undefined || !code.startsWith("ERR_SSL_")) {
      const how = error === undefined || code === "ECONNRESET" ? "" : ` (${code})`;
      return new ProxyError("RESET", `${label}: the peer went away in the handshake${how}`, { cause: error });
    }
    if (code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE") {
      // certificate_required is new in TLS 1.3 (RFC 8446 section 6.2).
      const old = this.#wrapped.getProtocol() !== "TLSv1.3";
      return missingCertificate(label, old ? ALERT.handshake_failure : ALERT.certificate_required);
    }
    const alert = receivedAlert(error);
    const told = alert === undefined ? "" : `; the peer sent alert ${alert}, ${alertName(alert)}`;
    return new ProxyError("HANDSHAKE", `${label}: TLS handshake failed: ${error.reason ?? code}${told}`, {
      cause: error,
      alert,
    });
  }

  #refuse(error: ProxyError, facts: TlsFacts, tickets: boolean): void {
    const alert = this.#sealedAlert(error, facts, tickets);
    if (alert === null) {
      this.#tell(error, facts);
      return;
    }
    this.#failure = error;
    this.#tell(error, facts, alert);
  }

  #tell(error: ProxyError | null, facts: TlsFacts | null, alert: Uint8Array | null = null): void {
    this.#secret?.fill(0);
    this.#secret = null;
    this.#letGo();
    // A system error leaves nobody to tell, and the descriptor would never report anything again.
    if ((this.#failure?.cause as NodeJS.ErrnoException | undefined)?.syscall !== undefined)
      this.#raw.destroy();
    else if (this.#failure !== null && !this.#raw.destroyed) this.#unwrap(alert);
    this.#done(error, facts);
  }

  #peer(): Peer | null {
    const leaf = shownLeaf(this.#wrapped);
    if (leaf !== null) return this.#context.peers.get(leaf);
    return !this.#server && this.#wrapped.isSessionReused() ? (this.#kept?.peer ?? null) : null;
  }

  #judge(peer: Peer | null): ProxyError | null {
    const { spec } = this.#context;
    if (peer === null) {
      const required = !this.#server || spec.clientAuth === "required";
      return required ? missingCertificate(spec.label, ALERT.certificate_required) : null;
    }
    const failure = this.#wrapped.ssl?.verifyError();
    if (failure) {
      const { code = "UNSPECIFIED", message } = failure;
      const anchors = this.#context.anchors();
      const first =
        anchors === null
          ? null
          : firstFault(shownChain(this.#wrapped), anchors, spec.side, message, Date.now());
      return verifyFailure(spec.label, peer, first?.name ?? code, first?.detail ?? message);
    }
    return spec.authorise(peer, this.#options.serverName);
  }

  #facts(peer: Peer | null): TlsFacts {
    const wrapped = this.#wrapped;
    const { alpnProtocol } = wrapped;
    return {
      version: wrapped.getProtocol() ?? "",
      // Not agreed yet where a TLS 1.2 client goes away behind its certificate; the types do not know that.
      cipher: (wrapped.getCipher() as { readonly name: string } | undefined)?.name ?? "",
      alpn: typeof alpnProtocol === "string" && alpnProtocol !== "" ? alpnProtocol : null,
      resumed: wrapped.isSessionReused(),
      peer,
      link: this.#link(),
    };
  }

  #link(): string | null {
    try {
      // No context argument: an empty context is another value in TLS 1.2 (RFC 5705 section 4).
      const bytes = (this.#wrapped.exportKeyingMaterial as (length: number, label: string) => Buffer).call(
        this.#wrapped,
        LINK_BYTES,
        LINK_LABEL,
      );
      return bytes.toString("hex");
    } catch {
      return null;
    }
  }

  #sealedAlert(error: ProxyError, facts: TlsFacts, tickets: boolean): Uint8Array | null {
    const secret = this.#secret;
    if (secret === null || facts.version !== "TLSv1.3" || error.alert === undefined) return null;
    // Records sent under this secret so far are session tickets only. OpenSSL sends two after a full handshake, one after a
    // resumed one, and none in cases that differ between versions and ticket callbacks: SSL_CTX_set_num_tickets(3).
    let sequence = 0;
    if (this.#server && tickets) sequence = facts.resumed ? 1 : 2;
    return sealAlert13({ secret, cipher: facts.cipher, sequence, alert: error.alert });
  }

  /** Hands the descriptor back to the raw socket and lets the wrapping one end with it. */
  #unwrap(alert: Uint8Array | null): void {
    const raw = this.#raw;
    const wrapped = this.#wrapped;
    wrapped._destroySSL();
    if (alert !== null) raw.write(alert);
    wrapped._final = (callback) => {
      raw.end(() => callback());
    };
    let drained = 0;
    raw.on("data", (chunk: Buffer) => {
      drained += chunk.length;
      if (drained > LINGER_BYTES) raw.destroy();
    });
    raw.on("end", () => wrapped.push(null));
    raw.resume();
  }
}

/** The number of the alert that the peer sent, which Node tells only in OpenSSL's words. */
export function receivedAlert(error: Error & { code?: string }): number | undefined {
  if (error.code?.startsWith("ERR_SSL_") !== true) return undefined;
  const number = /SSL alert number (\d+)/.exec(error.message)?.[1];
  return number === undefined ? undefined : Number(number);
}

/** All that went through the descriptor; a wrapped socket's own `bytesWritten` does not see what OpenSSL writes. */
function bytesWritten(raw: Socket): number {
  return (raw as { _handle?: { bytesWritten?: number } | null })._handle?.bytesWritten ?? 0;
}
