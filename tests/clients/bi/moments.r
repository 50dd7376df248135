# Reads CSV as often as it is told to: a line of its input is an address and a file, tab between them. The rows are written into
# the file, and a line is printed that says so, or what went wrong.
asked <- file("stdin")
open(asked)
while (length(line <- readLines(asked, n = 1)) > 0) {
  one <- strsplit(line, "\t")[[1]]
  told <- tryCatch({
    rows <- read.csv(one[1], colClasses = c(cust_space_id = "character", phone_number = "character"))
    write.csv(rows, one[2], row.names = FALSE)
    "took rows"
  }, error = function(condition) gsub("\\s+", " ", conditionMessage(condition)))
  cat(told, "\n", sep = "")
  flush(stdout())
}
