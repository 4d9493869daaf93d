// Package meta keeps customer-file custom audiences of one Meta ad account: configuration, requests, answers, and what
// each error means. Rows come in as digests, one request goes out per call; waiting and retrying are delivery's.
//
// It follows the Marketing API v26.0 as its contract sheet states it; section numbers in comments are those of the sheet.
//
// Choices the sheet leaves open:
//   - Every request to the users edge is a session of its own, first batch and last at once, with a fresh id: the guide
//     wants a session, and this way the counts in the answer are those of the request under either reading of them. A repeat
//     opens a new session, because batches of a closed one are ignored.
//   - A replace (2.5) is a session of many requests. Whether its first batch arrived is looked up before anything is sent
//     again, because a second first batch would empty the audience once more. What was not confirmed in it goes by add.
//   - A lookalike is made with custom_ratio, which serves plain and value-based seeds alike.
//   - A removal is a DELETE with a JSON body; in the query it breaks at a thousand rows.
//   - EXTERN_ID is not sent: the platform would keep our user ids for 90 days to no use, since each request carries the hashes
//     themselves, and would refuse rows without one.
//   - The token travels in the Authorization header and the proof is the plain one: the timed one fails when clocks differ.
package meta
