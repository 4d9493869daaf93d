// Package tiktok keeps audiences of one TikTok advertiser, segments and those made of files: configuration, requests,
// answers, and what each code means. Rows come in as digests, one request goes out per call; waiting and retrying are
// delivery's.
//
// It follows the Business API v1.3 as its contract sheet states it; section numbers in comments are those of the sheet.
//
// Choices the sheet leaves open:
//   - A request carries one type of identifier (2.2, row rule 3): a hash in a slot of another type cannot happen, and a bad
//     phone cannot cost an e-mail.
//   - The platform keeps nothing by which an audience could be found again but its name, and names are not unique: so the
//     name ends in the audience's key, and has at most 70 bytes, at which the platform would cut it.
//   - Files are for static seeds: an audience made of files is locked up to 48 hours after each change, so people could not
//     leave it in time. A mixed file has one column, and so never an empty field; cut at 50 000 000 bytes.
//   - 40002 has many meanings. About rows it is a refusal of the batch; about a file audience or a seed its state tells.
//   - "Partially successful" (20001) names no row. It is reported as one unnamed refusal, and delivery finds the row by
//     bisection, instead of counting all as delivered.
package tiktok
