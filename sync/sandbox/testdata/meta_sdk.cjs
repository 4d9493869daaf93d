// Drives the sandbox with Meta's own SDK. Arguments: base URL, app secret, ad account, token. Prints one JSON object.
const crypto = require('crypto');
const {FacebookAdsApi, AdAccount, CustomAudience} = require('facebook-nodejs-business-sdk');

const [base, secret, account, token] = process.argv.slice(2);
Object.defineProperty(FacebookAdsApi, 'GRAPH', {get: () => base});
FacebookAdsApi.init(token, 'en_US', false);
const appsecret_proof = crypto.createHmac('sha256', secret).update(token).digest('hex');
const hash = text => crypto.createHash('sha256').update(text).digest('hex');
const payload = (...emails) => ({schema: ['EMAIL'], is_raw: true, data: emails.map(e => [e])});

async function main() {
  const act = new AdAccount('act_' + account);
  const created = await act.createCustomAudience([], {name: 'from the SDK', subtype: 'CUSTOM', customer_file_source: 'USER_PROVIDED_ONLY', appsecret_proof});
  await act.createCustomAudience([], {name: 'second', subtype: 'CUSTOM', customer_file_source: 'USER_PROVIDED_ONLY', appsecret_proof});
  const audience = new CustomAudience(created.id);
  const added = await audience.createUser([], {payload: payload(hash('ann.lee@example.org'), hash('bea@example.org'), 'not hashed'), appsecret_proof});
  const removed = await audience.deleteUsers({payload: payload(hash('bea@example.org')), appsecret_proof});
  const read = await audience.get(['name', 'subtype', 'operation_status', 'approximate_count_lower_bound'], {appsecret_proof});
  const renamed = await audience.update([], {name: 'renamed', appsecret_proof});
  let page = await act.getCustomAudiences(['name'], {limit: 1, appsecret_proof});
  const names = page.map(a => a.name);
  while (page.hasNext()) {
    page = await page.next();
    names.push(...page.map(a => a.name));
  }
  let refusal;
  try {
    await audience.createUser([], {payload: payload(), appsecret_proof});
  } catch (error) {
    refusal = {status: error.status, code: error.response.code, message: error.message};
  }
  const deleted = await audience.delete([], {appsecret_proof});
  console.log(JSON.stringify({version: FacebookAdsApi.VERSION, id: created.id, added: added._data, removed, read: read._data, renamed: renamed._data ?? renamed, names, refusal, deleted}));
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
