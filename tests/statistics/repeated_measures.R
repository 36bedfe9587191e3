# Oracle of test_repeated_measures.py, test_mixed_means.py and test_method_families.py: the tests of a learning curve on the
# scores of repeated_measures_scores.csv (whole-number arithmetic; blank: undefined). aov with Error, anova.mlm for Greenhouse
# and Geisser, t.test, wilcox.test, p.adjust, and nlme::lme with one random intercept per study.
# Run in this folder: Rscript repeated_measures.R
suppressMessages(library(nlme))
scores <- read.csv("repeated_measures_scores.csv", colClasses = c(size = "character"), na.strings = "")
scores$size[is.na(scores$size)] <- ""
scores$method <- trimws(paste(scores$arm, scores$size))
sizes <- c(10, 20, 30)
models <- as.vector(rbind(paste("FT", sizes), paste("DN", sizes)))
rows <- list()
add <- function(...) rows[[length(rows) + 1]] <<- data.frame(...)
for (metric in c("sensitivity", "ppv")) {
  d <- scores[scores$metric == metric, ]
  of <- function(m) { one <- d[d$method == m, ]; setNames(one$value, one$study) }
  wide <- na.omit(sapply(models, of))
  long <- data.frame(value = as.vector(wide), study = factor(rep(rownames(wide), ncol(wide))),
                     method = factor(rep(models, each = nrow(wide))))
  a <- summary(aov(value ~ method + Error(study / method), long))[["Error: study:method"]][[1]]
  g <- anova(lm(wide ~ 1), X = ~1, test = "Spherical")
  add(metric = metric, family = "anova", first = "", second = "", n = nrow(wide), difference = NA, low = NA, high = NA,
      statistic = a[1, "F value"], df = a[1, "Df"], df_error = a[2, "Df"], p = a[1, "Pr(>F)"],
      p_epsilon = g[1, "G-G Pr"], p_welch = NA, p_rank = NA, difference_mixed = NA, se_mixed = NA, p_mixed = NA,
      p_bonferroni = NA, p_holm = NA)
  fit <- lme(value ~ method - 1, random = ~ 1 | study, data = na.omit(d), method = "REML",
             control = lmeControl(msTol = 1e-12, tolerance = 1e-12))
  contrast <- function(x, y) {
    L <- setNames(numeric(length(fixef(fit))), names(fixef(fit)))
    L[paste0("method", x)] <- 1; L[paste0("method", y)] <- -1
    est <- sum(L * fixef(fit)); se <- sqrt(drop(t(L) %*% vcov(fit) %*% L)); df <- fit$fixDF$X[[1]]
    df <- nrow(na.omit(d)) - length(unique(na.omit(d)$study)) - length(L) + 1
    c(est, se, 2 * pt(-abs(est / se), df))
  }
  for (family in c("arms", "default", "grader")) {
    first <- if (family == "arms") paste("FT", sizes) else models
    second <- if (family == "arms") paste("DN", sizes) else rep(family, length(models))
    start <- length(rows) + 1
    for (k in seq_along(first)) {
      x <- of(first[k]); y <- of(second[k])
      paired <- family == "arms"
      x1 <- x; y1 <- y
      if (paired) { ok <- !is.na(x) & !is.na(y[names(x)]); x1 <- x[ok]; y1 <- y[names(x)][ok] }
      else { x1 <- x[!is.na(x)]; y1 <- y[!is.na(y)] }
      t <- if (paired) t.test(x1, y1, paired = TRUE) else t.test(x1, y1, var.equal = TRUE)
      w <- suppressWarnings(wilcox.test(x1, y1, paired = paired, exact = FALSE, correct = TRUE))
      m <- contrast(first[k], second[k])
      add(metric = metric, family = family, first = first[k], second = second[k], n = length(x1),
          difference = if (paired) t$estimate[[1]] else t$estimate[[1]] - t$estimate[[2]],
          low = t$conf.int[1], high = t$conf.int[2], statistic = t$statistic[[1]], df = t$parameter[[1]], df_error = NA,
          p = t$p.value, p_epsilon = NA, p_welch = if (paired) NA else t.test(x1, y1)$p.value, p_rank = w$p.value,
          difference_mixed = m[1], se_mixed = m[2], p_mixed = m[3], p_bonferroni = NA, p_holm = NA)
    }
    here <- start:length(rows)
    p <- sapply(rows[here], function(row) row$p)
    for (k in seq_along(here)) {
      rows[[here[k]]]$p_bonferroni <- p.adjust(p, "bonferroni")[k]
      rows[[here[k]]]$p_holm <- p.adjust(p, "holm")[k]
    }
  }
}
table <- do.call(rbind, rows)
number <- sapply(table, is.numeric)
table[number] <- lapply(table[number], function(x) ifelse(is.na(x), "", formatC(x, digits = 12, format = "g")))
table$r <- paste(R.version$major, R.version$minor, sep = ".")
table$nlme <- as.character(packageVersion("nlme"))
write.csv(table, "repeated_measures.csv", row.names = FALSE, quote = FALSE)
