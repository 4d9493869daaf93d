// Drives the sandbox with TikTok's own SDK. Arguments: base URL, advertiser, token, app id, app secret. Prints one JSON object.
import {createHash} from 'node:crypto';
import {mkdtempSync, createReadStream, rmSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {ApiClient, AudienceApi, AuthenticationApi} from 'tiktok-business-api-sdk-official';

globalThis.require = createRequire(import.meta.url); // the SDK looks for fs.ReadStream through require
const [base, advertiser, token, appID, secret] = process.argv.slice(2);
ApiClient.instance.basePath = base;
const audiences = new AudienceApi();
const call = (api, method, ...args) => new Promise((resolve, reject) =>
  api[method](...args, (error, data) => error ? reject(error) : resolve(data.data ?? data)));

const content = Array.from({length: 1500}, (_, i) => createHash('sha256').update(`user${i}@example.org`).digest('hex') + '\n').join('');
const dir = mkdtempSync(join(tmpdir(), 'sandbox-sdk-'));
try {
  const path = join(dir, 'buyers.csv');
  writeFileSync(path, content);
  const granted = await call(new AuthenticationApi(), 'oauth2AdvertiserGet', appID, secret, token);
  const file = await call(audiences, 'dmpCustomAudienceFileUpload', token, {advertiser_id: advertiser, calculate_type: 'EMAIL_SHA256',
    file: createReadStream(path), file_signature: createHash('md5').update(content).digest('hex')});
  const created = await call(audiences, 'dmpCustomAudienceCreate', token, {body: {advertiser_id: advertiser, custom_audience_name: 'from the SDK',
    calculate_type: 'EMAIL_SHA256', file_paths: [file.file_path]}});
  const listed = await call(audiences, 'dmpCustomAudienceList', advertiser, token, {page: 1, page_size: 100});
  const details = await call(audiences, 'dmpCustomAudienceGet', advertiser, [created.custom_audience_id], token, {});
  let refusal;
  try {
    await call(audiences, 'dmpCustomAudienceUpdate', token, {body: {advertiser_id: advertiser, custom_audience_id: created.custom_audience_id,
      action: 'APPEND', file_paths: [file.file_path]}});
  } catch (error) {
    refusal = error.message;
  }
  await call(audiences, 'dmpCustomAudienceDelete', token, {body: {advertiser_id: advertiser, custom_audience_ids: [created.custom_audience_id]}});
  const left = await call(audiences, 'dmpCustomAudienceList', advertiser, token, {});
  console.log(JSON.stringify({granted, file, created, listed, details, refusal, left}));
} finally {
  rmSync(dir, {recursive: true});
}
