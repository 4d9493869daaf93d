package server

import (
	"context"
	"errors"
	"regexp"
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

var accountNumber = regexp.MustCompile(`^[0-9]{1,32}$`)

func destinationKind(deps Deps, writing *sync.Mutex) kind[audience.Destination, *audiencev1.Destination] {
	return kind[audience.Destination, *audiencev1.Destination]{
		collection: destinationsCollection, field: "destination", store: deps.Destinations, writing: writing,
		id:   func(d audience.Destination) string { return string(d.ID) },
		meta: func(d *audience.Destination) *audience.Meta { return &d.Meta },
		make: func(id string) audience.Destination { return audience.Destination{ID: audience.DestinationID(id)} },
		write: func(d audience.Destination) *audiencev1.Destination {
			return withHealth(writeDestination(d), deps.Healths.Health(d))
		},
		read: readDestination,
		check: func(_ context.Context, after audience.Destination, before *audience.Destination) error {
			if before != nil && (before.Platform != after.Platform || before.Account != after.Account) {
				return audience.Invalid("account", "cannot change, nor can platform: audiences are bound to them; create another destination instead")
			}
			return deps.Check(after)
		},
		users: func(ctx context.Context, d audience.Destination) ([]string, error) {
			audiences, err := deps.Audiences.All(ctx)
			if err != nil {
				return nil, err
			}
			var users []string
			for _, a := range audiences {
				if a.Destination == d.ID {
					users = append(users, nameOf(audiencesCollection, a.ID))
				}
			}
			return users, nil
		},
		fixed: map[string]bool{"name": true, "etag": true, "create_time": true, "update_time": true, "state": true, "trouble": true,
			"remedy": true, "trouble_time": true, "check_time": true, "warnings": true},
	}
}

// missing turns the ErrNotFound of what a field refers to into a fault of that field.
func missing(field string, err error) error {
	var resource *audience.ResourceError
	if errors.Is(err, audience.ErrNotFound) && errors.As(err, &resource) {
		return audience.Invalid(field, "%s does not exist; create it first", resource.Name)
	}
	return err
}

func (s *audienceService) CreateDestination(ctx context.Context, req *audiencev1.CreateDestinationRequest) (*audiencev1.CreateDestinationResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.CreateDestinationResponse, error) {
		created, err := s.destinations.create(ctx, req.GetDestinationId(), req.GetDestination())
		s.healths.Look()
		return &audiencev1.CreateDestinationResponse{Destination: created}, err
	})
}

func (s *audienceService) GetDestination(ctx context.Context, req *audiencev1.GetDestinationRequest) (*audiencev1.GetDestinationResponse, error) {
	found, err := s.destinations.get(ctx, req.GetName())
	return &audiencev1.GetDestinationResponse{Destination: found}, err
}

func (s *audienceService) ListDestinations(ctx context.Context, req *audiencev1.ListDestinationsRequest) (*audiencev1.ListDestinationsResponse, error) {
	destinations, next, err := s.destinations.list(ctx, req.GetPageSize(), req.GetPageToken())
	return &audiencev1.ListDestinationsResponse{Destinations: destinations, NextPageToken: next}, err
}

func (s *audienceService) UpdateDestination(ctx context.Context, req *audiencev1.UpdateDestinationRequest) (*audiencev1.UpdateDestinationResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.UpdateDestinationResponse, error) {
		changed, err := s.destinations.update(ctx, req.GetDestination(), req.GetUpdateMask())
		s.healths.Look()
		return &audiencev1.UpdateDestinationResponse{Destination: changed}, err
	})
}

func (s *audienceService) DeleteDestination(ctx context.Context, req *audiencev1.DeleteDestinationRequest) (*audiencev1.DeleteDestinationResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.DeleteDestinationResponse, error) {
		return &audiencev1.DeleteDestinationResponse{}, s.destinations.delete(ctx, req.GetName(), req.GetEtag())
	})
}

func (s *audienceService) CheckDestination(ctx context.Context, req *audiencev1.CheckDestinationRequest) (*audiencev1.CheckDestinationResponse, error) {
	found, err := s.destinations.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	return &audiencev1.CheckDestinationResponse{Destination: withHealth(writeDestination(found), s.healths.Check(ctx, found))}, nil
}

// withHealth adds a destination's health to its message.
func withHealth(message *audiencev1.Destination, health audience.Health) *audiencev1.Destination {
	message.State = valueOf[audiencev1.Destination_State](health.State)
	message.Trouble, message.Remedy, message.TroubleTime = health.Trouble, health.Remedy, timestampOf(health.Since)
	message.CheckTime, message.Warnings = timestampOf(health.Checked), health.Warnings
	return message
}

// readDestination checks what all platforms require; the connectors check their own bounds, by Deps.Check.
func readDestination(into *audience.Destination, message *audiencev1.Destination) error {
	var v audience.Violations
	into.Title = message.GetTitle()
	into.Platform = audience.Platform(readWord(&v, "platform", message.GetPlatform()))
	into.Account = message.GetAccount()
	into.TokenSecret, into.AppSecret = message.GetTokenSecret(), message.GetAppSecret()
	into.BaseURL = message.GetBaseUrl()
	into.EmailMode = readWord(&v, "email_mode", message.GetEmailMode())
	into.APIVersion, into.Columns, into.App = message.GetApiVersion(), message.GetColumns(), message.GetApp()
	into.RequestsPerS, into.BatchRows = message.GetRequestsPerSecond(), int(message.GetBatchRows())

	checkText(&v, "title", into.Title, maxTitleBytes)
	if message.GetPlatform() == audiencev1.Destination_PLATFORM_UNSPECIFIED {
		v.Add("platform", "is missing; see Destination.Platform")
	}
	if !accountNumber.MatchString(into.Account) {
		v.Add("account", "is not a number of 1 to 32 digits; leave act_ out")
	}
	if !audience.IsSecretName(into.TokenSecret) {
		v.Add("token_secret", "is not the name of a secret; put the token into a file of the secrets directory and name that, or env:NAME for the variable KOHORTA_SECRET_NAME")
	}
	if into.AppSecret != "" && !audience.IsSecretName(into.AppSecret) {
		v.Add("app_secret", "is not the name of a secret; put it into a file of the secrets directory and name that, or env:NAME for the variable KOHORTA_SECRET_NAME")
	}
	if into.AppSecret != "" && into.Platform != audience.PlatformMeta {
		v.Add("app_secret", "is for Meta only; leave it out")
	}
	if into.EmailMode != "" && into.Platform != audience.PlatformTikTok {
		v.Add("email_mode", "is for TikTok only; leave it out")
	}
	if into.APIVersion != "" && into.Platform != audience.PlatformMeta {
		v.Add("api_version", "is for Meta only; leave it out")
	}
	if len(into.Columns) > 0 && into.Platform != audience.PlatformMeta {
		v.Add("columns", "are for Meta only; leave them out")
	}
	switch {
	case into.App != "" && into.Platform != audience.PlatformTikTok:
		v.Add("app", "is for TikTok only; leave it out")
	case into.App != "" && !accountNumber.MatchString(into.App):
		v.Add("app", "is not a number of 1 to 32 digits")
	}
	return v.Err()
}

func writeDestination(d audience.Destination) *audiencev1.Destination {
	return &audiencev1.Destination{
		Name:              nameOf(destinationsCollection, d.ID),
		Title:             d.Title,
		Platform:          valueOf[audiencev1.Destination_Platform](d.Platform),
		Account:           d.Account,
		TokenSecret:       d.TokenSecret,
		AppSecret:         d.AppSecret,
		BaseUrl:           d.BaseURL,
		EmailMode:         valueOf[audiencev1.Destination_EmailMode](d.EmailMode),
		RequestsPerSecond: d.RequestsPerS,
		BatchRows:         int32(d.BatchRows),
		ApiVersion:        d.APIVersion,
		Columns:           d.Columns,
		App:               d.App,
		CreateTime:        timestampOf(d.CreateTime),
		UpdateTime:        timestampOf(d.UpdateTime),
		Etag:              d.Etag,
	}
}
