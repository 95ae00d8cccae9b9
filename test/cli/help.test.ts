/** Ensures that every command explains itself in 80 columns with an example, and that what it does not know is exit 2 with a word. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { millraceIn80 } from "../gear/command.ts";
import { folder } from "../gear/running.ts";

test("every command that --help lists explains itself within 80 columns, with an example", async () => {
  const top = await millraceIn80(["--help"]);
  assert.equal(top.code, 0);
  const commands = [...top.stdout.matchAll(/^ {2}millrace (\w+)/gm)].map((match) => [match[1]!]);
  assert(commands.length >= 10, top.stdout);
  commands.push([], ["pki", "init"], ["pki", "issue"]);
  await Promise.all(
    commands.map(async (command) => {
      const { code, stdout, stderr } = await millraceIn80([...command, "--help"]);
      const name = command.join(" ");
      assert.equal(code, 0, name);
      assert.equal(stderr, "", name);
      for (const line of stdout.split("\n")) assert([...line].length <= 80, `${name}: ${line}`);
      const examples = /\nExamples:\n([\s\S]+?)(\n\n|\n?$)/.exec(stdout)?.[1];
      assert(examples !== undefined, `${name} has an example`);
      assert.match(examples, new RegExp(`millrace ${name}`));
      const wrong = await millraceIn80([...command, "--nonsense"]);
      assert.doesNotMatch(wrong.stderr, /no such command/, `${name} is known where a mistake is explained`);
    }),
  );
});

test("--version says the version", async () => {
  const { code, stdout } = await millraceIn80(["--version"]);
  assert.equal(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

test("what is not there yet: exit 2, and what does it meanwhile", async () => {
  const unknown = await millraceIn80(["restart"]);
  assert.match(unknown.stderr, /^millrace: no such command: restart\n/);
  for (const [args, instead] of [
    [["reload"], "kill -HUP PID"],
    [["drain", "-c", "x.yaml"], "kill -TERM PID"],
    [["kill", "0123"], "millrace --help"],
    [["doctor"], "millrace --help"],
  ] as const) {
    const { code, stderr } = await millraceIn80(args);
    assert.equal(code, 2);
    assert.equal(stderr, `millrace: ${args[0]} is not available in this version\nTry: ${instead}\n`);
  }
});

test("a certificate is valid for whole days, from one up", async (t) => {
  const dir = folder(t);
  for (const days of ["abc", "0", "-1", "1.5", "1e9"]) {
    for (const action of [["init"], ["issue", "web"]]) {
      const { code, stderr } = await millraceIn80(["pki", ...action, "--dir", dir, `--days=${days}`]);
      assert.equal(code, 2, `${action} ${days}`);
      assert.equal(stderr, "millrace: --days must be a whole number from 1 to 36500\n", days);
    }
  }
  assert.deepEqual(readdirSync(dir), []);
});

test("what nobody knows: exit 2, a word, and where help is", async () => {
  for (const args of [
    ["run", "-c", "x.yaml", "--colour"],
    ["frobnicate"],
    ["explain", "-c", "x.yaml"],
    ["run"],
    ["check", "-c"],
    ["pki"],
    ["pki", "revoke"],
    ["server", "--listen", "127.0.0.1:0"],
    ["quickstart", "--transport", "pigeon"],
  ]) {
    const { code, stdout, stderr } = await millraceIn80(args);
    assert.equal(code, 2, `${args.join(" ")}: ${stdout}${stderr}`);
    assert.match(stderr, /^millrace: /, args.join(" "));
    assert.match(stderr, /--help/, args.join(" "));
    for (const line of stderr.split("\n")) assert([...line].length <= 80, `${args.join(" ")}: ${line}`);
  }
});
