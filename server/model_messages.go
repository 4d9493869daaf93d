package server

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func readModel(into *audience.Model, message *audiencev1.Model) error {
	var v audience.Violations
	into.Title = message.GetTitle()
	checkText(&v, "title", into.Title, maxTitleBytes)
	into.Schedule = readSchedule(&v, message.GetSchedule())
	switch config := message.GetConfig().(type) {
	case *audiencev1.Model_Rfm:
		into.Kind, into.RFM, into.KMeans = audience.ModelRFM, readRFM(&v, config.Rfm), nil
	case *audiencev1.Model_KMeans:
		into.Kind, into.RFM, into.KMeans = audience.ModelKMeans, nil, readKMeans(&v, config.KMeans)
	default:
		v.Add("config", "is missing; set rfm or k_means")
	}
	return v.Err()
}

func writeModel(model audience.Model) *audiencev1.Model {
	message := &audiencev1.Model{
		Name:       nameOf(modelsCollection, model.ID),
		Title:      model.Title,
		Version:    model.Version,
		Schedule:   writeSchedule(model.Schedule),
		CreateTime: timestampOf(model.CreateTime),
		UpdateTime: timestampOf(model.UpdateTime),
		Etag:       model.Etag,
	}
	switch {
	case model.RFM != nil:
		message.Config = &audiencev1.Model_Rfm{Rfm: writeRFM(model.RFM)}
	case model.KMeans != nil:
		message.Config = &audiencev1.Model_KMeans{KMeans: writeKMeans(model.KMeans)}
	}
	return message
}

func readRFM(v *audience.Violations, message *audiencev1.RfmConfig) *audience.RFMSpec {
	spec := &audience.RFMSpec{
		PurchaseTypes: message.GetPurchaseTypes(),
		RefundTypes:   message.GetRefundTypes(),
		IgnoreRefunds: message.GetIgnoreRefunds(),
		WindowDays:    int(message.GetWindowDays()),
		AsOf:          timeOf(v, "rfm.as_of", message.GetAsOf()),
		TimeZone:      message.GetTimeZone(),
		Recency:       readWord(v, "rfm.recency", message.GetRecency()),
		Frequency:     readWord(v, "rfm.frequency", message.GetFrequency()),
		Monetary:      readWord(v, "rfm.monetary", message.GetMonetary()),
		Convention:    readWord(v, "rfm.convention", message.GetConvention()),
		Bins:          int(message.GetBins()),
		RecencyCuts:   message.GetRecencyCuts(),
		FrequencyCuts: message.GetFrequencyCuts(),
		MonetaryCuts:  message.GetMonetaryCuts(),
		SegmentPreset: readWord(v, "rfm.segment_preset", message.GetSegmentPreset()),
	}
	for i, rule := range message.GetSegments() {
		field := "rfm.segments[" + strconv.Itoa(i) + "]"
		spec.Segments = append(spec.Segments, audience.RFMSegmentRule{
			Name:      rule.GetName(),
			Recency:   readRange(v, field+".recency", rule.GetRecency()),
			Frequency: readRange(v, field+".frequency", rule.GetFrequency()),
			Monetary:  readRange(v, field+".monetary", rule.GetMonetary()),
		})
	}
	return spec
}

// readRange is a range of scores; the zero pair for none.
func readRange(v *audience.Violations, field string, message *audiencev1.ScoreRange) [2]int {
	if message == nil {
		return [2]int{}
	}
	if message.GetMin() < 1 || message.GetMax() < message.GetMin() {
		v.Add(field, "runs from %d to %d; use 1 <= min <= max", message.GetMin(), message.GetMax())
	}
	return [2]int{int(message.GetMin()), int(message.GetMax())}
}

func writeRFM(spec *audience.RFMSpec) *audiencev1.RfmConfig {
	message := &audiencev1.RfmConfig{
		PurchaseTypes: spec.PurchaseTypes,
		RefundTypes:   spec.RefundTypes,
		IgnoreRefunds: spec.IgnoreRefunds,
		WindowDays:    int32(spec.WindowDays),
		AsOf:          timestampOf(spec.AsOf),
		TimeZone:      spec.TimeZone,
		Recency:       valueOf[audiencev1.RfmConfig_Recency](spec.Recency),
		Frequency:     valueOf[audiencev1.RfmConfig_Frequency](spec.Frequency),
		Monetary:      valueOf[audiencev1.RfmConfig_Monetary](spec.Monetary),
		Convention:    valueOf[audiencev1.RfmConfig_Convention](spec.Convention),
		Bins:          int32(spec.Bins),
		RecencyCuts:   spec.RecencyCuts,
		FrequencyCuts: spec.FrequencyCuts,
		MonetaryCuts:  spec.MonetaryCuts,
		SegmentPreset: valueOf[audiencev1.RfmConfig_SegmentPreset](spec.SegmentPreset),
	}
	for _, rule := range spec.Segments {
		message.Segments = append(message.Segments, &audiencev1.RfmSegmentRule{
			Name: rule.Name, Recency: writeRange(rule.Recency), Frequency: writeRange(rule.Frequency), Monetary: writeRange(rule.Monetary),
		})
	}
	return message
}

func writeRange(pair [2]int) *audiencev1.ScoreRange {
	if pair == [2]int{} {
		return nil
	}
	return &audiencev1.ScoreRange{Min: int32(pair[0]), Max: int32(pair[1])}
}

func readKMeans(v *audience.Violations, message *audiencev1.KMeansConfig) *audience.KMeansSpec {
	source, err := idOf("k_means.source", modelsCollection, message.GetSource())
	v.Merge("", err)
	spec := &audience.KMeansSpec{
		Source:   audience.ModelID(source),
		K:        int(message.GetK()),
		MinK:     int(message.GetMinK()),
		MaxK:     int(message.GetMaxK()),
		Seed:     message.GetSeed(),
		Sample:   int(message.GetSampleSize()),
		Restarts: int(message.GetRestarts()),
	}
	for i, feature := range message.GetFeatures() {
		word, ok := wordOf(feature)
		if !ok {
			v.Add("k_means.features["+strconv.Itoa(i)+"]", "is not a feature this version knows; see KMeansConfig.Feature")
		}
		spec.Features = append(spec.Features, word)
	}
	return spec
}

func writeKMeans(spec *audience.KMeansSpec) *audiencev1.KMeansConfig {
	message := &audiencev1.KMeansConfig{
		Source:     nameOf(modelsCollection, spec.Source),
		K:          int32(spec.K),
		MinK:       int32(spec.MinK),
		MaxK:       int32(spec.MaxK),
		Seed:       spec.Seed,
		SampleSize: int32(spec.Sample),
		Restarts:   int32(spec.Restarts),
	}
	for _, feature := range spec.Features {
		message.Features = append(message.Features, valueOf[audiencev1.KMeansConfig_Feature](feature))
	}
	return message
}

func writeModelVersion(version audience.ModelVersion) (*audiencev1.ModelVersion, error) {
	fitted := &structpb.Struct{}
	if err := protojson.Unmarshal([]byte(version.Fitted), fitted); err != nil {
		return nil, err
	}
	return &audiencev1.ModelVersion{
		Version:   version.Version,
		TrainTime: timestampOf(version.TrainTime),
		AsOf:      timestampOf(version.AsOf),
		Run:       nameOf(runsCollection, version.Run),
		UserCount: version.Users,
		Fitted:    fitted,
	}, nil
}

func (s *modelService) writeScore(kind audience.ModelKind, score audience.Score) *audiencev1.Score {
	message := &audiencev1.Score{UserId: string(score.User)}
	switch kind {
	case audience.ModelRFM:
		message.Kind = &audiencev1.Score_Rfm{Rfm: &audiencev1.RfmScore{
			R: int32(score.R), F: int32(score.F), M: int32(score.M), Segment: score.Segment,
			RecencyDays: score.RecencyDays, Frequency: int64(score.Frequency),
			MonetaryMicros: score.MonetaryMicros, CurrencyCode: s.currency,
		}}
	case audience.ModelKMeans:
		message.Kind = &audiencev1.Score_Cluster{Cluster: &audiencev1.ClusterScore{Label: int32(score.Label), Distance: float64(score.Distance)}}
	}
	return message
}
