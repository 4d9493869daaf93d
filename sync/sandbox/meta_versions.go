package sandbox

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var versionForm = regexp.MustCompile(`^v\d+\.\d+$`)

// metaVersion is the life of a version in the Marketing API, by Meta's version table.
type metaVersion struct {
	released, ends string // dates; empty released: before all our clocks, empty ends: not announced
}

var metaVersions = map[string]metaVersion{
	"v20.0": {ends: "2025-05-06"},
	"v21.0": {ends: "2025-09-09"},
	"v22.0": {ends: "2026-02-19"},
	"v23.0": {ends: "2026-06-09"},
	"v24.0": {released: "2025-10-08", ends: "2026-10-06"},
	"v25.0": {released: "2026-02-18"},
	"v26.0": {released: "2026-07-29"},
}

func checkVersion(version string, now time.Time) error {
	today := now.Format(time.DateOnly)
	life, known := metaVersions[version]
	number, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(version, "v"), ".0"))
	switch {
	case !known && number < 20, life.ends != "" && today >= life.ends:
		return &metaError{Code: 2635, Message: fmt.Sprintf("(#2635) You are calling a deprecated version of the Ads API. Please update to the latest version: v26.0. Called: %s", version)}
	case !known || today < life.released:
		return metaSyntax("Unknown path components: /" + version)
	}
	return nil
}

// oldestLiving is the version that calls on ended ones are moved up to.
func oldestLiving(now time.Time) string {
	today := now.Format(time.DateOnly)
	for _, version := range slices.Sorted(maps.Keys(metaVersions)) {
		if life := metaVersions[version]; (life.ends == "" || today < life.ends) && today >= life.released {
			return version
		}
	}
	return ""
}
