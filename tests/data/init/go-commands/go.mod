module example.com/tools/v2 // all of them

go 1.22.3

require golang.org/x/text v0.14.0
