package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"

	"github.com/kohorta/kohorta/internal/secret"
)

// The headers of a signed request.
const (
	TimestampHeader = "Kohorta-Timestamp" // seconds since 1970
	SignatureHeader = "Kohorta-Signature" // v1= and the hex, several separated by commas
)

const (
	signatureVersion = "v1="
	// mostSignatures bounds those of one request that are looked at.
	mostSignatures = 4
	// mostSecrets of a file serve at once, leastSecret is the length of one.
	mostSecrets = 2
	leastSecret = 16
)

// Sign is the value of SignatureHeader: a signature with each of the secrets.
func Sign(secrets []secret.Secret, timestamp string, body []byte) string {
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		signatures[i] = signatureVersion + hex.EncodeToString(sum(s, timestamp, body))
	}
	return strings.Join(signatures, ",")
}

// Signed reports whether a value of SignatureHeader has a signature with one of the secrets.
func Signed(secrets []secret.Secret, timestamp string, body []byte, header string) bool {
	var given [][]byte
	for signature := range strings.SplitSeq(header, ",") {
		digits, known := strings.CutPrefix(strings.TrimSpace(signature), signatureVersion)
		if mac, err := hex.DecodeString(digits); known && err == nil && len(given) < mostSignatures {
			given = append(given, mac)
		}
	}
	for _, s := range secrets {
		right := sum(s, timestamp, body)
		for _, mac := range given {
			if hmac.Equal(mac, right) {
				return true
			}
		}
	}
	return false
}

func sum(s secret.Secret, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(s))
	mac.Write([]byte(timestamp))
	mac.Write([]byte("."))
	mac.Write(body)
	return mac.Sum(nil)
}

// keyFile is a file of secrets to sign with.
type keyFile struct {
	*secret.File
	path string
}

func newKeyFile(path string, log *slog.Logger) keyFile {
	return keyFile{secret.NewFile("secret", path, mostSecrets, log), path}
}

// Read gives the secrets, the first of which is the newest. The error is a *secret.Error.
func (f keyFile) Read() ([]secret.Secret, error) {
	secrets, err := f.File.Read()
	for _, s := range secrets {
		if len(s) < leastSecret {
			return nil, &secret.Error{Setting: "secret", Path: f.path, Err: errors.New("the secret is too short"),
				Remedy: "make one of at least 16 characters, such as openssl rand -hex 32 gives"}
		}
	}
	return secrets, err
}
