/** Ensures that calls which enter the kernel together are all made, in their order, and that each has its own result. */
import assert from "node:assert/strict";
import { constants } from "node:os";
import { describe, it } from "node:test";
import { BufferRing } from "../../lib/ffi/buffer-ring.ts";
import * as uring from "../../lib/ffi/io-uring.ts";
import * as layout from "../../lib/ffi/layout.ts";
import * as libc from "../../lib/ffi/libc.ts";
import { viewOf } from "../../lib/ffi/library.ts";
import { allocate } from "../../lib/ffi/memory.ts";

const { EAGAIN, EBADF, ECANCELED, ENOBUFS } = constants.errno;
const { MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL } = layout;

const ring = libc.probe() === null ? uring.IoUring.open(8) : null;

/** Two sockets that are connected, of which neither has O_NONBLOCK: what does not wait is the call's own doing. */
function pair(): [number, number] {
  const memory = allocate(4096);
  const ends = new Int32Array(memory.bytes.buffer, memory.bytes.byteOffset, 2);
  const { address } = memory;
  const listening = libc.socket(layout.AF_UNIX, layout.SOCK_STREAM, 0);
  // An abstract name that the kernel chooses: an address of the family alone (unix(7), autobind).
  memory.bytes.writeUInt16LE(layout.AF_UNIX, 64);
  assert.equal(libc.bindTo(listening, address + 64, 2), 0);
  assert.equal(libc.listen(listening, 1), 0);
  ends[0] = 110;
  assert.equal(libc.getsockname(listening, address + 128, address), 0);
  const one = libc.socket(layout.AF_UNIX, layout.SOCK_STREAM, 0);
  assert.equal(libc.connect(one, address + 128, ends[0]!), 0);
  const other = libc.accept4(listening, 0, 0, 0);
  libc.close(listening);
  return [one, other];
}

// Where the kernel has none for us there is nothing to test: the calls are made one by one then (batch.test.ts).
if (ring !== null)
  describe("io_uring", () => {
    const { results } = ring;
    const put: typeof ring.put = (...call) => ring.put(...call);
    const submit = () => ring.submit();

    it("makes calls in their order, and none of them waits", () => {
      const [one, other] = pair();
      const { address, bytes } = allocate(4096);
      bytes.write("millrace");
      put(uring.IORING_OP_RECV, other, address + 64, 100, 0, MSG_DONTWAIT);
      put(uring.IORING_OP_SEND, one, address, 4, 0, MSG_DONTWAIT | MSG_NOSIGNAL);
      put(uring.IORING_OP_SEND, one, address + 4, 4, 0, MSG_DONTWAIT | MSG_NOSIGNAL);
      put(uring.IORING_OP_RECV, other, address + 64, 100, 0, MSG_DONTWAIT);
      put(uring.IORING_OP_CLOSE, one, 0, 0, 0, 0);
      put(uring.IORING_OP_RECV, other, address + 164, 100, 0, MSG_DONTWAIT);
      assert.equal(submit(), 6);
      assert.deepEqual([...results.subarray(0, 5)], [-EAGAIN, 4, 4, 8, 0]);
      assert.equal(bytes.toString("latin1", 64, 72), "millrace");
      // The close is complete once the call has returned.
      put(uring.IORING_OP_RECV, other, address + 164, 100, 0, MSG_DONTWAIT);
      put(uring.IORING_OP_CLOSE, other, 0, 0, 0, 0);
      assert.equal(submit(), 2);
      assert.deepEqual([...results.subarray(0, 2)], [0, 0]);
    });

    it("goes round and round", () => {
      for (let round = 0; round < 1000; round++) {
        const count: number = 1 + (round % ring.room);
        for (let call = 0; call < count; call++) {
          if (call === round % 5) put(uring.IORING_OP_SOCKET, layout.AF_INET, 0, 0, layout.SOCK_STREAM, 0);
          else put(uring.IORING_OP_CLOSE, 1_000_000, 0, 0, 0, 0);
        }
        assert.equal(submit(), count);
        for (let call = 0; call < count; call++) {
          if (call === round % 5) assert.equal(libc.close(results[call]!), 0);
          else assert.equal(results[call], -EBADF);
        }
      }
    });

    it("tells which calls the kernel knows", () => {
      assert.equal(ring.knows(uring.IORING_OP_RECV), true);
      assert.equal(ring.knows(250), false);
    });

    it("waits for a call that goes on, into buffers of its own choice", () => {
      const waiting = uring.IoUring.open(8, true)!;
      const buffers = new BufferRing(4, 8);
      assert.equal(waiting.register(buffers, 3), true);
      const [one, other] = pair();
      const { address, bytes } = allocate(4096);
      bytes.write("millrace, twelve");
      waiting.put(uring.IORING_OP_RECV_MULTISHOT, other, 0, 0, 0, 0);
      waiting.tag(77, 3);
      waiting.enter(0);
      assert.equal(waiting.take(), false);

      // More than one buffer holds, then more than all of them hold.
      libc.send(one, address, 12, 0);
      waiting.enter(1);
      const taken: [number, number, boolean][] = [];
      const texts: string[] = [];
      const takeAll = () => {
        while (waiting.take()) {
          taken.push([waiting.data, waiting.result, (waiting.flags & uring.IORING_CQE_F_MORE) !== 0]);
          if (waiting.result > 0) {
            const id = waiting.flags >>> uring.IORING_CQE_BUFFER_SHIFT;
            texts.push(viewOf(buffers.at(id), waiting.result).toString("latin1"));
          }
        }
      };
      takeAll();
      assert.deepEqual(taken.splice(0), [
        [77, 8, true],
        [77, 4, true],
      ]);
      assert.equal(texts.splice(0).join(""), "millrace, tw");
      libc.send(one, address, 17, 0);
      waiting.enter(1);
      takeAll();
      assert.deepEqual(taken.splice(0), [
        [77, 8, true],
        [77, 8, true],
        [77, -ENOBUFS, false],
      ]);

      // Given back, they are used again; the end is told, and then it goes on no more.
      for (let id = 0; id < 4; id++) buffers.give(id);
      waiting.put(uring.IORING_OP_RECV_MULTISHOT, other, 0, 0, 0, 0);
      waiting.tag(78, 3);
      libc.close(one);
      waiting.enter(2);
      takeAll();
      assert.deepEqual(taken.splice(0), [
        [78, 1, true],
        [78, 0, false],
      ]);
      libc.close(other);
      waiting.close();
      buffers.release();
    });

    it("tells of a send only if it was cut short", () => {
      const waiting = uring.IoUring.open(8, true)!;
      const [one, other] = pair();
      const { address } = allocate(1 << 22);
      const send = (length: number) => {
        waiting.put(
          uring.IORING_OP_SEND | uring.IOSQE_CQE_SKIP_SUCCESS,
          one,
          address,
          length,
          0,
          MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL,
        );
        waiting.tag(5, 0);
      };
      send(10);
      waiting.enter(0);
      assert.equal(waiting.take(), false);
      send(1 << 22);
      waiting.enter(1);
      assert.equal(waiting.take(), true);
      assert.equal(waiting.data, 5);
      assert(waiting.result > 0 && waiting.result < 1 << 22, String(waiting.result));
      send(1);
      waiting.enter(1);
      assert.equal(waiting.take(), true);
      assert.equal(waiting.result, -EAGAIN);
      libc.close(other);
      libc.close(one);
      waiting.close();
    });

    it("ends a call that goes on, and lets go of its socket", () => {
      const waiting = uring.IoUring.open(8, true)!;
      const buffers = new BufferRing(2, 8);
      waiting.register(buffers, 0);
      const [one, other] = pair();
      waiting.put(uring.IORING_OP_RECV_MULTISHOT, other, 0, 0, 0, 0);
      waiting.tag(9, 0);
      waiting.put(uring.IORING_OP_ASYNC_CANCEL | uring.IOSQE_CQE_SKIP_SUCCESS, -1, 9, 0, 0, 0);
      waiting.tag(10, 0);
      waiting.enter(0);
      assert.equal(waiting.take(), true);
      assert.deepEqual([waiting.data, waiting.result], [9, -ECANCELED]);
      assert.equal(waiting.take(), false);
      libc.close(other);
      const memory = allocate(4096);
      assert.equal(libc.recv(one, memory.address, 1, MSG_DONTWAIT), 0);
      libc.close(one);
      waiting.close();
      buffers.release();
    });
  });
