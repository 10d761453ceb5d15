# The image that a node starts from. docs/image.md says what is on it, why, and how to build it:
#
#   packer init packer.pkr.hcl
#   packer build -var environment=prod -var git_commit=$(git rev-parse HEAD) -var package_sources=... -var own_address=... packer.pkr.hcl

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.3"
    }
  }
}

# `regex_replace` with a word to compare: Packer 1.6 has no `regex`, so `can(regex(...))` is never true.
variable "environment" {
  type        = string
  description = "Environment of cdk.json that the image is for. Its id goes to the SSM parameter /voicefleet/ENVIRONMENT/ami."
  validation {
    condition     = regex_replace(var.environment, "^[a-z][a-z0-9-]*$", "fits") == "fits"
    error_message = "The environment must be a name such as prod: small letters, digits and hyphens."
  }
}

variable "git_commit" {
  type        = string
  description = "Commit that the image is built from, in full: what is not in it is not on the image."
  validation {
    condition     = regex_replace(var.git_commit, "^[0-9a-f]{40}$", "fits") == "fits"
    error_message = "The git_commit must be 40 hexadecimal digits, as git rev-parse HEAD gives."
  }
}

variable "package_sources" {
  type        = string
  description = "Folder with what Ubuntu's archive lacks: sources for apt with their keys, amazon-cloudwatch-agent.deb, pip.conf."
  validation {
    condition     = length(var.package_sources) > 0
    error_message = "The package_sources must name a folder; docs/image.md says what has to be in it."
  }
}

variable "region" {
  type        = string
  description = "Region to build in."
  default     = "us-east-1"
  validation {
    condition     = regex_replace(var.region, "^[a-z]{2}(-[a-z]+)+-[0-9]$", "fits") == "fits"
    error_message = "The region must be the name of an AWS region, such as us-east-1."
  }
}

variable "subnet_id" {
  type        = string
  description = "Subnet to build in, one that this machine reaches by SSH. Empty for one of the default VPC."
  default     = ""
  validation {
    condition     = regex_replace(var.subnet_id, "^(subnet-[0-9a-f]+)?$", "fits") == "fits"
    error_message = "The subnet_id must be such as subnet-0123456789abcdef0, or empty."
  }
}

# Newer plugins find it out (temporary_security_group_source_public_ip); Packer 1.6 does not know that word.
variable "own_address" {
  type        = string
  description = "Address from which this machine reaches the one that Packer builds on; no other can open SSH to it."
  validation {
    condition     = regex_replace(var.own_address, "^[1-9][0-9]{0,2}([.][0-9]{1,3}){3}$", "fits") == "fits"
    error_message = "The own_address must be one IPv4 address, such as 198.51.100.7, without a mask."
  }
}

variable "instance_type" {
  type        = string
  description = "What to build on. It needs the GPU family of the fleet, so that the driver is tried where it will run."
  default     = "g5.xlarge"
  validation {
    condition     = regex_replace(var.instance_type, "^(g5|g6|g6e)\\.[0-9]*xlarge$", "fits") == "fits"
    error_message = "The instance_type must be of g5, g6 or g6e, as the fleet's."
  }
}

variable "root_gib" {
  type        = number
  description = "Size of the root volume in GiB. The fleet's root_gib must not be smaller."
  default     = 20
  validation {
    condition     = var.root_gib >= 16 && var.root_gib <= 1000
    error_message = "The root_gib must be between 16 and 1000."
  }
}

variable "python" {
  type        = string
  description = "Python with boto3, for what Packer itself cannot do: IMDSv2, and the id of the image in the parameter."
  default     = ".venv/bin/python"
}

locals {
  versions = {
    for line in split("\n", file("${path.root}/image/versions.env")) :
    split("=", line)[0] => split("=", line)[1] if regex_replace(line, "^[A-Z_]+=.*$", "fits") == "fits"
  }
  built     = "${path.root}/dist/image"           # what comes back: manifest, report, bills of materials
  reports   = "/usr/local/share/voicefleet/image" # where 90-finish.sh writes them
  parameter = "/voicefleet/${var.environment}/ami"
}

source "amazon-ebs" "node" {
  region        = var.region
  subnet_id     = var.subnet_id
  instance_type = var.instance_type

  source_ami_filter {
    filters = {
      name                = "ubuntu/images/hvm-ssd-gp3/ubuntu-${local.versions.UBUNTU}-amd64-server-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["099720109477"] # Canonical
    most_recent = true
  }

  communicator                          = "ssh"
  ssh_username                          = "ubuntu"
  ssh_clear_authorized_keys             = true
  temporary_security_group_source_cidrs = ["${var.own_address}/32"]

  launch_block_device_mappings {
    device_name           = "/dev/sda1"
    volume_type           = "gp3"
    volume_size           = var.root_gib
    iops                  = 3000
    throughput            = 250 # has to be said: Packer 1.6 sends 0 otherwise
    encrypted             = true
    delete_on_termination = true
  }

  ami_name        = "voicefleet-${var.environment}-${substr(var.git_commit, 0, 12)}-${formatdate("YYYYMMDDhhmmss", timestamp())}"
  ami_description = "A node of Voicefleet: driver ${local.versions.DRIVER}, CUDA ${local.versions.CUDA} in the application's environment"

  tags = {
    Name              = "voicefleet-${var.environment}"
    "voicefleet:env"  = var.environment
    git-commit        = var.git_commit
    ubuntu            = local.versions.UBUNTU
    kernel            = local.versions.KERNEL
    driver            = local.versions.DRIVER
    cuda              = local.versions.CUDA
    dcgm              = local.versions.DCGM
    dcgm-exporter     = local.versions.DCGM_EXPORTER
    cloudwatch-agent  = local.versions.CLOUDWATCH_AGENT
    source-image      = "{{ .SourceAMI }}"
    source-image-name = "{{ .SourceAMIName }}"
  }
  # Of what image/retire.py removes once it is old.
  snapshot_tags = {
    Name             = "voicefleet-${var.environment}"
    "voicefleet:env" = var.environment
    git-commit       = var.git_commit
  }
  run_tags        = { Name = "voicefleet-${var.environment}-image-build" }
  run_volume_tags = { Name = "voicefleet-${var.environment}-image-build" }
}

build {
  sources = ["source.amazon-ebs.node"]

  # Packer 1.6 knows neither metadata_options nor imds_support: the first for this machine, the second in publish.py.
  provisioner "shell-local" {
    inline = ["'${var.python}' '${path.root}/image/require_imdsv2.py' ${var.region} ${build.ID}"]
  }

  provisioner "shell-local" {
    inline = [
      "mkdir -p '${local.built}'",
      "git -C '${path.root}' archive --format=tar.gz --prefix=voicefleet/ ${var.git_commit} > '${local.built}/source.tar.gz'",
      "tar -czf '${local.built}/package-sources.tar.gz' -C '${var.package_sources}' .",
    ]
  }

  provisioner "file" {
    source      = "${local.built}/source.tar.gz"
    destination = "source.tar.gz"
    generated   = true
  }

  provisioner "file" {
    source      = "${local.built}/package-sources.tar.gz"
    destination = "package-sources.tar.gz"
    generated   = true
  }

  # What is compiled for the GPU needs the driver's module, which is of the kernel that comes with it.
  provisioner "shell" {
    inline = [
      "mkdir -p package-sources",
      "tar -xzf source.tar.gz",
      "tar -xzf package-sources.tar.gz -C package-sources",
      "for step in 00-sources 10-base 20-driver; do sudo PACKAGE_SOURCES=$PWD/package-sources voicefleet/image/provision/$step.sh || exit; done",
      "sudo systemctl reboot",
    ]
    expect_disconnect = true
  }

  provisioner "shell" {
    pause_before = "20s" # until the old kernel takes no more commands
    inline = [
      "sudo PACKAGE_SOURCES=$PWD/package-sources voicefleet/image/provision/provision.sh --this-machine",
      "rm -rf source.tar.gz package-sources.tar.gz package-sources voicefleet",
    ]
  }

  # One by one: of several sources, Packer 1.6 downloads only one.
  provisioner "file" {
    direction   = "download"
    source      = "${local.reports}/lean-root.txt"
    destination = "${local.built}/lean-root.txt"
  }

  provisioner "file" {
    direction   = "download"
    source      = "${local.reports}/sbom-dpkg.cdx.json"
    destination = "${local.built}/sbom-dpkg.cdx.json"
  }

  provisioner "file" {
    direction   = "download"
    source      = "${local.reports}/sbom-python.cdx.json"
    destination = "${local.built}/sbom-python.cdx.json"
  }

  post-processors {
    post-processor "manifest" {
      output     = "${local.built}/manifest.json"
      strip_path = true
      custom_data = {
        environment = var.environment
        git_commit  = var.git_commit
      }
    }
    post-processor "shell-local" {
      inline = [
        "'${var.python}' '${path.root}/image/publish.py' '${local.built}/manifest.json' ${local.parameter}",
        "'${var.python}' '${path.root}/image/retire.py' ${var.region} ${var.environment}",
      ]
    }
  }
}
