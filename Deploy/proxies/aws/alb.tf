# An AWS Application Load Balancer in front of Sluice, for Terraform: what matters to streams. The networks, the certificate and the
# security groups are yours.

variable "subnets" { type = list(string) }
variable "vpc" { type = string }
variable "security_groups" { type = list(string) }
variable "certificate_arn" { type = string }

resource "aws_lb" "sluice" {
  name               = "sluice"
  load_balancer_type = "application"
  subnets            = var.subnets
  security_groups    = var.security_groups

  # The longest silence of a connection: 60 where nothing is said, 4000 at most. HTTP/2 PINGs do not count, and are not passed on:
  # only bytes of the stream do, such as Sluice's keepalive comments (15s).
  idle_timeout = 4000
  # For how long a client's connection is used for further requests; a stream that runs is not cut by it.
  client_keep_alive = 3600
  enable_http2      = true
}

resource "aws_lb_target_group" "sluice" {
  name             = "sluice"
  port             = 8080
  protocol         = "HTTP"
  protocol_version = "HTTP1" # HTTP2 works as well (cleartext, with prior knowledge); its listener must be HTTPS
  vpc_id           = var.vpc
  target_type      = "ip"

  # A target that goes gets no new stream and may end those that run: as long as Sluice's drain_timeout. 3600 at most.
  deregistration_delay = 600
  # Streams last: who has the fewest is asked next.
  load_balancing_algorithm_type = "least_outstanding_requests"

  health_check {
    # Sluice's admin listener; 503 as soon as it drains. It needs a token unless its health checks are all that is exposed:
    # /livez and /readyz ask for none.
    port                = "9910"
    path                = "/readyz"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.sluice.arn
  port              = 443
  protocol          = "HTTPS"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.sluice.arn
  }
}

# The load balancer appends to X-Forwarded-For. In Sluice: `trusted_proxies:` with the ranges of `subnets`, and
# limits.client_idle_timeout above idle_timeout (70m), since the load balancer keeps connections for that long: where the target
# closes first, a request that crosses the close becomes a 502.
