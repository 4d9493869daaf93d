package server

import (
	"errors"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// maxBatchRows bounds the rows of one batch.
const maxBatchRows = 10_000

// checkBatch says what is wrong with the size of a batch.
func checkBatch(field string, rows int) error {
	switch {
	case rows == 0:
		return audience.Invalid(field, "is empty; send 1 to %d rows", maxBatchRows)
	case rows > maxBatchRows:
		return audience.Invalid(field, "has %d rows; split it into batches of at most %d", rows, maxBatchRows)
	}
	return nil
}

// eventBatch is a batch of events with its faults set apart.
type eventBatch struct {
	events  []audience.Event                     // those that are valid
	rows    []int                                // of each valid event, its row in the batch
	refused map[int][]*audiencev1.FieldViolation // by row
	size    int
}

// readEvents checks each row of a batch by itself; events of erased users are refused.
func readEvents(rows []*audiencev1.Event, currency string, erased func(audience.UserID) bool) (eventBatch, error) {
	if err := checkBatch("events", len(rows)); err != nil {
		return eventBatch{}, err
	}
	batch := eventBatch{
		events:  make([]audience.Event, 0, len(rows)),
		rows:    make([]int, 0, len(rows)),
		refused: map[int][]*audiencev1.FieldViolation{},
		size:    len(rows),
	}
	for i, row := range rows {
		event, err := readEvent(row, currency)
		if err == nil && erased(event.User) {
			err = audience.Invalid("user_id", erasedUser)
		}
		if err != nil {
			batch.refused[i] = violationsOf(err)
			continue
		}
		batch.events, batch.rows = append(batch.events, event), append(batch.rows, i)
	}
	return batch, nil
}

// readEvent is the event in a row, or an InvalidError with all its faults.
func readEvent(row *audiencev1.Event, currency string) (audience.Event, error) {
	var v audience.Violations
	event := audience.Event{
		User:        audience.UserID(row.GetUserId()),
		ID:          row.GetEventId(),
		Type:        row.GetType(),
		Time:        timeOf(&v, "time", row.GetTime()),
		ValueMicros: row.GetValueMicros(),
	}
	if row.GetTime() == nil {
		v.Add("time", "is missing; send the UTC time of the event")
		event.Time = audience.EarliestEvent
	}
	if code := row.GetCurrencyCode(); code != "" && code != currency {
		v.Add("currency_code", "%.8q is not the currency of this service; convert the value to %s", code, currency)
	}
	event.Texts, event.Numbers = readProperties(&v, "properties", row.GetProperties())
	v.Merge("", event.Validate())
	return event, v.Err()
}

// readProperties splits a property map by type. Booleans become the texts "true" and "false".
func readProperties(v *audience.Violations, field string, properties map[string]*audiencev1.PropertyValue) (map[string]string, map[string]float64) {
	var texts map[string]string
	var numbers map[string]float64
	setText := func(name, text string) {
		if texts == nil {
			texts = make(map[string]string, len(properties))
		}
		texts[name] = text
	}
	for name, value := range properties {
		switch kind := value.GetKind().(type) {
		case *audiencev1.PropertyValue_Text:
			setText(name, kind.Text)
		case *audiencev1.PropertyValue_Boolean:
			if kind.Boolean {
				setText(name, "true")
			} else {
				setText(name, "false")
			}
		case *audiencev1.PropertyValue_Number:
			if numbers == nil {
				numbers = make(map[string]float64, len(properties))
			}
			numbers[name] = kind.Number
		default:
			v.Add(field+"."+name, "has no value; set text, number or boolean, or leave the property out")
		}
	}
	return texts, numbers
}

// violationsOf are the faults of a row.
func violationsOf(err error) []*audiencev1.FieldViolation {
	var invalid *audience.InvalidError
	if !errors.As(err, &invalid) {
		return []*audiencev1.FieldViolation{{Description: err.Error()}}
	}
	out := make([]*audiencev1.FieldViolation, len(invalid.Violations))
	for i, v := range invalid.Violations {
		out[i] = &audiencev1.FieldViolation{Field: v.Field, Description: v.Reason}
	}
	return out
}
