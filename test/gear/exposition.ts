/**
 * A strict reader of the Prometheus text format (version 0.0.4): what `promtool check metrics` refuses, and more, throws.
 * Families are declared once and stand together, labels are escaped, histograms are cumulative and add up.
 */
import assert from "node:assert/strict";

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Family {
  readonly type: string;
  readonly samples: Sample[];
}

export class Exposition {
  readonly families = new Map<string, Family>();

  constructor(text: string) {
    assert.ok(text.endsWith("\n"), "the last line ends");
    const help = new Set<string>();
    let open: string | null = null;
    for (const line of text.slice(0, -1).split("\n")) {
      if (line === "") continue;
      const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
      if (comment !== null) {
        const [, kind, name, rest] = comment as unknown as [string, string, string, string];
        if (kind === "HELP") {
          assert.ok(!help.has(name), `one HELP for ${name}`);
          help.add(name);
        } else {
          assert.ok(help.has(name) && !this.families.has(name), `one TYPE for ${name}, after its HELP`);
          assert.match(rest, /^(counter|gauge|histogram)$/);
          assert.equal(
            /_total$/.test(name),
            rest === "counter",
            `${name}: counters, and only they, end in _total`,
          );
          this.families.set(name, { type: rest, samples: [] });
          open = name;
        }
        continue;
      }
      const sample = readSample(line);
      const family = sample.name.replace(/_(bucket|sum|count)$/, "");
      const name = this.families.get(family)?.type === "histogram" ? family : sample.name;
      assert.equal(name, open, `${line}: stands with its family`);
      this.families.get(name)!.samples.push(sample);
    }
    for (const [name, family] of this.families) check(name, family);
  }

  /** The one sample with exactly these labels; 0 where there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.#find(name, (own) => sameLabels(own, labels))[0]?.value ?? 0;
  }

  /** The sum over all samples that have at least these labels. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const among = (own: Sample["labels"]) =>
      Object.entries(labels).every(([label, value]) => own[label] === value);
    return this.#find(name, among).reduce((sum, sample) => sum + sample.value, 0);
  }

  /** Counters and the parts of histograms, which never go back, by name and labels. */
  monotone(): Map<string, number> {
    const values = new Map<string, number>();
    for (const { type, samples } of this.families.values()) {
      if (type === "gauge") continue;
      for (const { name, labels, value } of samples) values.set(`${name} ${JSON.stringify(labels)}`, value);
    }
    return values;
  }

  #find(name: string, fits: (labels: Sample["labels"]) => boolean): Sample[] {
    const family = this.families.get(name) ?? this.families.get(name.replace(/_(bucket|sum|count)$/, ""));
    assert(family !== undefined, `there is a metric ${name}`);
    return family.samples.filter((sample) => sample.name === name && fits(sample.labels));
  }
}

function readSample(line: string): Sample {
  const head = /^([a-zA-Z_:][a-zA-Z0-9_:]*)/.exec(line);
  assert(head !== null, `${line}: begins with a name`);
  const name = head[1]!;
  let at = name.length;
  const labels: Record<string, string> = {};
  if (line[at] === "{") {
    at += 1;
    while (line[at] !== "}") {
      const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|(?=\}))/.exec(line.slice(at));
      assert(label !== null, `${line}: a label at ${at}`);
      assert.ok(!Object.hasOwn(labels, label[1]!), `${line}: ${label[1]} once`);
      labels[label[1]!] = label[2]!.replace(/\\(.)/g, (_, letter: string) =>
        letter === "n" ? "\n" : letter,
      );
      at += label[0].length;
    }
    at += 1;
  }
  const value = /^ (\+Inf|NaN|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(line.slice(at));
  assert(value !== null, `${line}: ends in a number`);
  return { name, labels, value: Number(value[1]!.replace("+Inf", "Infinity")) };
}

function check(name: string, { type, samples }: Family): void {
  const seen = new Set<string>();
  for (const sample of samples) {
    const key = `${sample.name} ${JSON.stringify(Object.entries(sample.labels).sort())}`;
    assert.ok(!seen.has(key), `${key} once`);
    seen.add(key);
    if (type !== "gauge") assert.ok(sample.value >= 0, `${key} is not negative`);
  }
  if (type !== "histogram") return;
  const series = new Map<string, Sample[]>();
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels;
    const key = JSON.stringify(labels);
    series.set(key, [...(series.get(key) ?? []), sample]);
  }
  for (const [labels, parts] of series) {
    const buckets = parts.filter((part) => part.name === `${name}_bucket`);
    const bounds = buckets.map((bucket) => Number(bucket.labels["le"]!.replace("+Inf", "Infinity")));
    assert.deepEqual(
      bounds,
      [...bounds].sort((one, two) => one - two),
      `${name}${labels}: bounds ascend`,
    );
    assert.equal(bounds.at(-1), Number.POSITIVE_INFINITY);
    for (const [index, bucket] of buckets.entries())
      assert.ok(index === 0 || bucket.value >= buckets[index - 1]!.value, `${name}${labels}: cumulative`);
    const count = parts.find((part) => part.name === `${name}_count`);
    assert.equal(count?.value, buckets.at(-1)!.value, `${name}${labels}: +Inf is the count`);
    assert.ok(
      parts.some((part) => part.name === `${name}_sum`),
      `${name}${labels}: has a sum`,
    );
  }
}

function sameLabels(one: Sample["labels"], two: Sample["labels"]): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(two).length && names.every((name) => one[name] === two[name]);
}
