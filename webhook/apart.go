package webhook

import "github.com/kohorta/kohorta/internal/audience"

// mostHalvings bounds how often a batch is halved to find the changes in it that are refused: one of a thousand takes ten. A
// receiver that refuses everything is so asked 65 times a batch, and no more.
const mostHalvings = 32

// apart sends changes in their order. What is refused for what it holds is halved, and each half sent by itself, until those
// refused stand alone, as far as the halvings reach; what is too long is halved as often as it takes. giveUp hears of the
// changes of each request that stays refused. An error of either ends it.
func apart(letters []audience.DeadLetter, halvings *int, send func([]audience.DeadLetter) (*refusal, error), giveUp func([]audience.DeadLetter, *refusal) error) error {
	r, err := send(letters)
	if err != nil || r == nil {
		return err
	}
	switch {
	case len(letters) == 1:
		return giveUp(letters, r)
	case r.verdict == tooLong:
	case r.verdict == refused && *halvings > 0:
		*halvings--
	default:
		return giveUp(letters, r)
	}
	half := len(letters) / 2
	if err := apart(letters[:half], halvings, send, giveUp); err != nil {
		return err
	}
	return apart(letters[half:], halvings, send, giveUp)
}
