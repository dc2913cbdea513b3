// Measures two things in turn, A B B A …, so that what the machine does meanwhile falls on both, and prints the line of
// JSON that `cargo xtask bench` reads. The same method as benches/src/meter.rs.

const quick = process.argv.includes('--quick')
const pairs = quick ? 9 : 25
const sampleNs = quick ? 5e6 : 40e6

/**
 * `ours` and `beside`: `{ name, run }`, where `run` returns true, or a promise of it where `async` is set.
 * `goal` is the highest ratio that meets it.
 */
export async function compare(ours, beside, goal) {
  for (const one of [ours, beside]) {
    if ((await one.run()) !== true) throw new Error(`${one.name} does not accept the token`)
  }
  const runs = [await calibrate(ours), await calibrate(beside)]
  const ratios = []
  const times = [[], []]
  for (let pair = 0; pair < pairs; pair++) {
    const order = pair % 2 === 0 ? [0, 1] : [1, 0]
    const got = []
    for (const which of order) got[which] = await sample(which === 0 ? ours : beside, runs[which])
    ratios.push(got[0] / got[1])
    times[0].push(got[0])
    times[1].push(got[1])
  }
  const ratio = median(ratios)
  const line = {
    ours: ours.name,
    beside: beside.name,
    ours_ns: median(times[0]),
    beside_ns: median(times[1]),
    ratio: [ratios[0], ratio, ratios.at(-1)],
    pairs,
  }
  if (goal !== undefined) line.goal_ratio = goal
  console.log(JSON.stringify(line))
}

/** One number, such as a size. */
export function count(name, value, unit, goal) {
  console.log(JSON.stringify({ name, count: value, unit, ...(goal === undefined ? {} : { goal }) }))
}

async function calibrate(one) {
  for (let runs = 1; ; runs *= 2) {
    if ((await sample(one, runs)) * runs >= sampleNs / 2) return runs * 2
  }
}

/** Nanoseconds of one run. */
async function sample({ name, run, async }, runs) {
  let good = 0
  const start = process.hrtime.bigint()
  // Awaiting what is no promise would be measured too.
  if (async) for (let i = 0; i < runs; i++) good += (await run()) === true
  else for (let i = 0; i < runs; i++) good += run() === true
  const spent = Number(process.hrtime.bigint() - start)
  if (good !== runs) throw new Error(`${name} must hold every time`)
  return spent / runs
}

function median(values) {
  values.sort((a, b) => a - b)
  return values[values.length >> 1]
}
