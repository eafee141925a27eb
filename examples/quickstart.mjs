// The fine-tuning quickstart of OpenAI's documentation, against attune: only baseURL has changed.
//
//     attune serve &                                    # http://127.0.0.1:8080
//     npm install openai
//     node examples/quickstart.mjs [MODEL] [ROWS.jsonl]
//
// MODEL is a base model that `attune models` lists. OPENAI_BASE_URL names another address of the server. The same
// lines are TypeScript.
import { createReadStream } from 'node:fs';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';

const model = process.argv[2] ?? 'starter';
const rows = process.argv[3] ?? fileURLToPath(new URL('bookings.train.jsonl', import.meta.url));
const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:8080/v1',
  apiKey: 'not needed here',
});

const file = await client.files.create({ file: createReadStream(rows), purpose: 'fine-tune' });
let job = await client.fineTuning.jobs.create({ training_file: file.id, model, suffix: 'quickstart' });
console.log('job', job.id);

const seen = new Set();
while (!['succeeded', 'failed', 'cancelled'].includes(job.status)) {
  await new Promise((done) => setTimeout(done, 1000));
  const events = await client.fineTuning.jobs.listEvents(job.id, { limit: 20 });
  for (const event of events.data.reverse()) {
    if (!seen.has(event.id)) console.log(event.message);
    seen.add(event.id);
  }
  job = await client.fineTuning.jobs.retrieve(job.id);
}
if (job.status !== 'succeeded') throw new Error(`the job ${job.status}: ${job.error?.message}`);

const messages = [{ role: 'user', content: 'Please move my booking for two from Friday to Sunday. My name is Clara.' }];
for (const name of [model, job.fine_tuned_model]) {
  const stream = await client.chat.completions.create({
    model: name, messages, temperature: 0, max_tokens: 80, stream: true,
  });
  process.stdout.write(name.padEnd(40) + ' ');
  for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? '');
  process.stdout.write('\n');
}
