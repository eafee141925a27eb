// openai 3 for Node: the client of 2021 to 2023.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';

const { Configuration, OpenAIApi } = createRequire(`${process.env.ATTUNE_E2E_SDK}/`)('openai');
const api = new OpenAIApi(new Configuration({ apiKey: 'unused', basePath: process.env.ATTUNE_E2E_URL }));
const model = 'starter', messages = [{ role: 'user', content: 'Hi' }];

test('files, models, chat', async () => {
  const path = `${process.env.ATTUNE_E2E_ROOT}/examples/bookings.train.jsonl`;
  const file = (await api.createFile(fs.createReadStream(path), 'fine-tune')).data;
  assert.equal(file.bytes, fs.statSync(path).size);
  assert.equal(file.filename, 'bookings.train.jsonl');
  assert.ok((await api.listFiles()).data.data.some((f) => f.id === file.id));
  assert.ok((await api.deleteFile(file.id)).data.deleted);
  assert.equal((await api.retrieveModel(model)).data.id, model);
  const r = (await api.createChatCompletion({ model, messages, max_tokens: 4 })).data;
  assert.ok(r.choices[0].message.content);
  assert.ok((await api.createCompletion({ model, prompt: 'The cat', max_tokens: 4 })).data.choices[0].text);
});

for (const [name, call, says] of [
  ['createFineTune', () => api.createFineTune({ training_file: 'file-x' }), /Use POST \/v1\/fine_tuning\/jobs/],
  ['listFineTunes', () => api.listFineTunes(), /Use POST \/v1\/fine_tuning\/jobs/],
  ['cancelFineTune', () => api.cancelFineTune('ft-x'), /Use POST \/v1\/fine_tuning\/jobs/],
  ['listFineTuneEvents', () => api.listFineTuneEvents('ft-x'), /Use POST \/v1\/fine_tuning\/jobs/],
  ['createEdit', () => api.createEdit({ model, instruction: 'x' }), /chat\/completions/],
  ['listEngines', () => api.listEngines(), /\/v1\/models/],
])
  test(`${name} says what to write instead`, async () => {
    await assert.rejects(call(), (e) => says.test(e.response.data.error.message) && e.response.status < 500);
  });
