// The official SDK against the running server: node --test, with the SDK of one major version in reach.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { createRequire } from 'node:module';

const require = createRequire(path.join(process.env.ATTUNE_E2E_SDK, 'package.json'));
const { default: OpenAI, toFile } = require('openai');
const client = new OpenAI({ baseURL: process.env.ATTUNE_E2E_URL, apiKey: 'unused', maxRetries: 0 });
const helpers = client.chat.completions.stream ? client.chat.completions : client.beta.chat.completions;
const examples = readFileSync(path.join(process.env.ATTUNE_E2E_ROOT, 'examples/bookings.train.jsonl'), 'utf8')
  .trim().split('\n');
const model = 'starter';
const messages = [{ role: 'user', content: 'Tell me about a cat.' }];
const ask = (more = {}) =>
  client.chat.completions.create({ model, messages, max_tokens: 24, temperature: 0, ...more });

test('an answer, and the same in a stream', async () => {
  const whole = await ask();
  assert.ok(whole.choices[0].message.content);
  let text = '';
  for await (const chunk of await ask({ stream: true })) text += chunk.choices[0]?.delta?.content ?? '';
  assert.equal(text, whole.choices[0].message.content);
});

test('the stream helper adds up', async () => {
  const stream = helpers.stream({ model, messages, max_tokens: 24, temperature: 0 });
  const final = await stream.finalChatCompletion();
  assert.equal(final.choices[0].message.content, (await ask()).choices[0].message.content);
});

test('a stream that is broken off leaves the server well', async () => {
  const stream = await ask({ stream: true, max_tokens: 500, logit_bias: { 2: -100 } });
  for await (const chunk of stream) if (chunk.choices.length) break;
  assert.ok((await ask()).choices[0].message.content);
});

const parameters = {
  type: 'object',
  properties: { day: { type: 'string', enum: ['Monday', 'Friday'] }, people: { type: 'integer' } },
  required: ['day', 'people'],
  additionalProperties: false,
};

test('strict output is what the schema says', async () => {
  const response_format = { type: 'json_schema', json_schema: { name: 'booking', strict: true, schema: parameters } };
  const r = await ask({ response_format, max_tokens: 200, temperature: 1.3, seed: 3 });
  assert.deepEqual(Object.keys(JSON.parse(r.choices[0].message.content)), ['day', 'people']);
});

test('runTools calls the function and gives its answer back', async () => {
  const seen = [];
  const tools = [{
    type: 'function',
    function: {
      name: 'book_table', parameters, parse: JSON.parse,
      function: (args) => { seen.push(args); return 'booked'; },
    },
  }];
  const runner = helpers.runTools({
    model, messages, tools, temperature: 0, max_tokens: 200, parallel_tool_calls: false,
    tool_choice: { type: 'function', function: { name: 'book_table' } },
  });
  await runner.done();
  assert.ok(seen.length >= 1 && ['Monday', 'Friday'].includes(seen[0].day));
});

test('errors have their classes', async () => {
  await assert.rejects(ask({ model: 'nothing' }), (e) => e instanceof OpenAI.NotFoundError && e.code === 'model_not_found');
  await assert.rejects(ask({ temperature: 9 }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'temperature');
  await assert.rejects(client.files.retrieve('file-none'), (e) => e instanceof OpenAI.NotFoundError && e.param === 'id');
});

test('upload, tune, list events, chat', async () => {
  const file = await client.files.create({
    file: await toFile(Buffer.from(examples.slice(0, 40).join('\n')), 'train.jsonl'), purpose: 'fine-tune',
  });
  await client.files.waitForProcessing(file.id);
  let job = await client.fineTuning.jobs.create({
    model, training_file: file.id, suffix: 'node', hyperparameters: { n_epochs: 1, batch_size: 8 },
  });
  while (!['succeeded', 'failed', 'cancelled'].includes(job.status)) {
    await new Promise((done) => setTimeout(done, 100));
    job = await client.fineTuning.jobs.retrieve(job.id);
  }
  assert.equal(job.status, 'succeeded', JSON.stringify(job.error));
  const texts = [];
  for await (const event of client.fineTuning.jobs.listEvents(job.id, { limit: 3 })) texts.push(event.message);
  assert.equal(texts.filter((t) => t.startsWith('Step ')).length, 5);
  assert.ok((await ask({ model: job.fine_tuned_model })).choices[0].message);
  const remove = client.models.delete ?? client.models.del;
  assert.ok((await remove.call(client.models, job.fine_tuned_model)).deleted);
});

test('pages come one after the other', async () => {
  const made = [];
  for (let i = 0; i < 3; i++)
    made.push((await client.files.create({
      file: await toFile(Buffer.from(examples[i]), `page${i}.jsonl`), purpose: 'fine-tune',
    })).id);
  const got = [];
  for await (const f of client.files.list({ purpose: 'fine-tune', limit: 1 })) got.push(f.id);
  assert.deepEqual(got.filter((id) => made.includes(id)), made.reverse());
});

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const check = {
  type: 'string_check', name: 'same', input: '{{sample.output_text}}', reference: '{{item.want}}', operation: 'eq',
};

test('evals are made, run and read', { skip: !client.evals }, async () => {
  const made = await client.evals.create({
    name: 'node', testing_criteria: [check],
    data_source_config: { type: 'custom', item_schema: { type: 'object' }, include_sample_schema: true },
  });
  const content = [{ item: { want: 'a' }, sample: { output_text: 'a' } }, { item: { want: 'a' }, sample: { output_text: 'b' } }];
  let run = await client.evals.runs.create(made.id, {
    data_source: { type: 'jsonl', source: { type: 'file_content', content } },
  });
  for (let i = 0; i < 600 && ['queued', 'in_progress'].includes(run.status); i++) {
    await sleep(100);
    const page = await client.evals.runs.list(made.id);
    run = page.data.find((r) => r.id === run.id);
  }
  assert.equal(run.status, 'completed');
  assert.deepEqual(run.result_counts, { total: 2, errored: 0, failed: 1, passed: 1 });
});

test('graders are tried', { skip: !client.fineTuning.alpha?.graders }, async () => {
  const r = await client.fineTuning.alpha.graders.run({ grader: check, item: { want: 'x' }, model_sample: 'x' });
  assert.equal(r.reward, 1);
  assert.deepEqual((await client.fineTuning.alpha.graders.validate({ grader: check })).grader, check);
});
