// Package identity is the one room that sees an e-mail or a phone number. What a caller tells about a person comes in, in
// the clear or hashed already; what platforms can match goes out: SHA-256 digests of each platform's normal form, and
// device ids where a platform asks for them in the clear. What cannot be normalised is left out with its reason, never
// hashed. The room keeps nothing and knows no wire format.
//
// The rules and their worked examples are those of the platforms' contract sheets: Meta Marketing API v26.0, customer file
// custom audiences, and TikTok Business API v1.3, segment mapping. Of their identifiers four kinds are not made: Meta's
// EXTERN_ID, which would only tell Meta our user ids; its APPUID, PAGEUID and UID, known to an app or a page of the
// advertiser's and of no use without its number; hashes of several fields together; and TikTok's MD5 of device ids, which it
// warns of mixing with SHA-256.
package identity
