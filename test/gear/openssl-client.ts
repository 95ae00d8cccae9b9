/**
 * A TLS client that is nothing but OpenSSL on a socket, and does what neither Node nor a command does. It verifies nothing and shows
 * no certificate. SSL_key_update(3).
 */
import assert from "node:assert/strict";
import { AF_INET, SHUT_WR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "../../lib/ffi/layout.ts";
import { close, connect, shutdown, socket } from "../../lib/ffi/libc.ts";
import { bind } from "../../lib/ffi/library.ts";
import { openssl } from "../../lib/ffi/openssl.ts";
import { BIO_NOCLOSE } from "../../lib/ffi/openssl-bio.ts";
import { encodeSockaddr } from "../../lib/ffi/sockaddr.ts";

const keyUpdate = bind("SSL_key_update", "int", ["intptr_t", "int"]);
const SSL_KEY_UPDATE_NOT_REQUESTED = 0;

export class OpensslClient {
  readonly #lib = openssl();
  readonly #descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  readonly #memory = this.#lib.pin(4096);
  readonly #context: number;
  readonly #ssl: number;

  /** Begins to connect to a port of loopback. */
  constructor(port: number) {
    const lib = this.#lib;
    const address = encodeSockaddr({ kind: "ip", host: "127.0.0.1", port });
    this.#memory.bytes.set(address);
    connect(this.#descriptor, this.#memory.address, address.length);
    this.#context = lib.SSL_CTX_new(lib.TLS_client_method());
    this.#ssl = lib.SSL_new(this.#context);
    const bio = lib.BIO_new_socket(this.#descriptor, BIO_NOCLOSE);
    lib.BIO_up_ref(bio);
    lib.SSL_set0_rbio(this.#ssl, bio);
    lib.SSL_set0_wbio(this.#ssl, bio);
    lib.SSL_set_connect_state(this.#ssl);
  }

  /** One step of the handshake. True: it stands. */
  shake(): boolean {
    this.#lib.ERR_clear_error();
    return this.#lib.SSL_do_handshake(this.#ssl) === 1;
  }

  /** Sends so many KeyUpdates, 27 bytes each with AES-GCM. */
  async update(count: number): Promise<void> {
    for (let sent = 0; sent < count; sent++) {
      assert.equal(keyUpdate(this.#ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
      await this.#until(() => this.shake());
    }
  }

  async say(text: string): Promise<void> {
    const length = this.#memory.bytes.write(text, 0);
    await this.#until(() => this.#lib.SSL_write(this.#ssl, this.#memory.address, length) === length);
  }

  /** close_notify and FIN. */
  async end(): Promise<void> {
    await this.#until(() => this.#lib.SSL_shutdown(this.#ssl) >= 0);
    shutdown(this.#descriptor, SHUT_WR);
  }

  close(): void {
    this.#lib.SSL_free(this.#ssl);
    this.#lib.SSL_CTX_free(this.#context);
    close(this.#descriptor);
  }

  /** A full socket gives way while the loop turns. */
  async #until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise((resolve) => setImmediate(resolve));
  }
}
